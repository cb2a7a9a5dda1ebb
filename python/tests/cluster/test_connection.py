"""One connection per process, whoever asks for it, and an end to waiting for one that never comes."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
import ray
from processes import python

from cognitive_actors.cluster import ClusterError, ensure_ray_initialized, get_ray_cluster_info, get_ray_namespace


@pytest.fixture
def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.usefixtures("embedded_ray")
def test_connecting_again_changes_nothing() -> None:
    node = ray.get_runtime_context().get_node_id()
    with ThreadPoolExecutor(8) as threads:
        settings = set(threads.map(lambda _: ensure_ray_initialized(), range(32)))
    assert len(settings) == 1
    assert ray.get_runtime_context().get_node_id() == node
    assert get_ray_namespace() == settings.pop().namespace


@pytest.mark.usefixtures("embedded_ray")
def test_another_namespace_or_cluster_is_an_error() -> None:
    live = get_ray_namespace()
    with pytest.raises(ClusterError, match=f"namespace '{live}', not 'other'.*ray.shutdown"):
        ensure_ray_initialized(namespace="other")
    with pytest.raises(ClusterError, match=r"not '10\.0\.0\.1:6379'.*ray.shutdown"):
        ensure_ray_initialized("10.0.0.1:6379")
    assert ensure_ray_initialized("local", live).namespace == live


@pytest.mark.usefixtures("embedded_ray")
def test_cluster_info_counts_the_living() -> None:
    info = get_ray_cluster_info()
    assert (info["nodes_alive"], info["nodes_dead"]) == (1, 0)
    assert info["resources"]["CPU"] == 2
    assert info["ray"] == ray.__version__
    assert [node["alive"] for node in info["nodes"]] == [True]


def test_threads_of_a_fresh_process_start_one_ray() -> None:
    code = """
from concurrent.futures import ThreadPoolExecutor
import ray
from cognitive_actors.cluster import ensure_ray_initialized
with ThreadPoolExecutor(4) as threads:
    for s in threads.map(lambda _: ensure_ray_initialized(num_cpus=1), range(4)):
        print(s.namespace, s.source)
print(len(ray.nodes()))
"""
    out, err = python("-c", code, RAY_NAMESPACE="mine").communicate(timeout=120)
    assert sorted(out.split("\n")[:4]) == ["mine embedded Ray"] + ["mine the live connection"] * 3, err
    assert out.split("\n")[4] == "1"


def test_without_a_cluster(closed_port: int) -> None:
    """In a process of its own, because this one may be connected already."""
    code = f"""
from cognitive_actors.cluster import ClusterError, ensure_ray_initialized, get_ray_cluster_info, get_ray_namespace
for call in (
    lambda: ensure_ray_initialized(allow_embedded=False),
    lambda: ensure_ray_initialized("127.0.0.1:{closed_port}", deadline=1),
    lambda: ensure_ray_initialized("ray://127.0.0.1:{closed_port}", deadline=1),
    get_ray_cluster_info,
    get_ray_namespace,
):
    try:
        call()
    except ClusterError as error:
        print(error)
"""
    out, err = python("-c", code, RAY_TMPDIR="/nonexistent").communicate(timeout=60)
    nothing_named, refused, client_refused, *unconnected = out.splitlines()
    assert nothing_named.startswith("no Ray cluster is named; pass --address"), err
    assert refused.startswith(f"no Ray answers at '127.0.0.1:{closed_port}' (from the address given) within 1 s")
    assert client_refused.startswith(f"no Ray answers at 'ray://127.0.0.1:{closed_port}'")
    assert all("call ensure_ray_initialized() first" in line for line in unconnected) and len(unconnected) == 2
