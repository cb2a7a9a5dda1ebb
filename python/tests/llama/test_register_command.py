"""``cognitive register`` and ``cognitive nodes`` as they are called, against a real Ray."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import ray
from llama_programs import llama_server
from node_reports import device, listening, port_of, reported
from processes import python
from redis_server import redis_server
from tiny_gguf import tiny_tensors, write_gguf
from typer.testing import CliRunner

from cognitive_actors.cli.app import app
from cognitive_actors.llama.builds import build_of
from cognitive_actors.llama.registry import NODES, node_registry
from cognitive_actors.placement import read_sizes

SECONDS = 180.0


@pytest.fixture
def namespace(embedded_ray: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One that no other test has, with no registry in it."""
    chosen = f"nodes-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("RAYNIXOS_NAMESPACE", chosen)
    yield chosen
    with suppress(ValueError):
        ray.kill(ray.get_actor(NODES, chosen))


@contextmanager
def begun(command: str, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = python("-m", "cognitive_actors", command, *arguments, **environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=SECONDS)
    return process.returncode, output, errors


def nodes(namespace: str, *arguments: str) -> str:
    at = ("--address", ray.get_runtime_context().gcs_address)
    with begun("nodes", *at, *arguments, RAYNIXOS_NAMESPACE=namespace) as process:
        code, output, errors = ended(process)
    assert code == 0, errors
    return output


def test_what_is_wrong_with_a_node_is_shown(namespace: str) -> None:
    registry = node_registry()
    answers = [registry.report.remote(reported("one", None, device("10.0.0.1:50052")))]
    for endpoint in (None, "10.0.0.1:50052"):
        answers += [registry.failed.remote("one", endpoint, "it ended with 1") for _ in range(3)]
    ray.get(answers, timeout=SECONDS)
    shown = nodes(namespace)
    assert "CUDA0 NVIDIA H100" in shown and "70.0/80.0 GiB" in shown and "3 failures" in shown
    assert shown.count("breaker open") == 2


def cluster() -> tuple[str, str]:
    return "--cluster", ray.get_runtime_context().gcs_address


def test_one_report_is_made_and_shown(namespace: str, tmp_path: Path) -> None:
    assert "no node reports what it has for language models; on each, run: cognitive register" in nodes(namespace)
    tiny = write_gguf(tmp_path / "tiny.gguf", tiny_tensors())
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with listening() as server, redis_server(tmp_path) as place:
        rpc = f"127.0.0.1:{port_of(server)}"
        options = ("--rpc", f"CPU={rpc}", "--rpc-build", "b11669", "--models", str(tmp_path), "--model", f"chat={tiny}")
        more = ("--name", "one", "--address", "one.example", "--once")
        with begun(
            "register",
            *cluster(),
            *options,
            *more,
            RAYNIXOS_NAMESPACE=namespace,
            COGNITIVE_NODES_REDIS=f"redis://{place}",
        ) as process:
            code, output, errors = ended(process)
        assert code == 0 and output == "", errors
        assert "reported as 'one' at one.example: 1 devices, 3 models" in errors
        assert redis_keys(place) == [f"sollol:rpc:node:{rpc}"]
    found: dict[str, Any] = json.loads(nodes(namespace, "--json"))
    (node,) = found["nodes"]
    assert (found["namespace"], node["name"], node["address"]) == (namespace, "one", "one.example")
    assert node["node"] == ray.get_runtime_context().get_node_id() and node["breaker_closed"]
    assert node["stale"] == (node["age"] > 30)
    assert [(x["name"], x["endpoint"], x["build"]) for x in node["devices"]] == [("CPU", rpc, "11669")]
    models = {model["name"]: model for model in node["models"]}
    assert sorted(models) == ["broken", "chat", "tiny"] and models["broken"]["unfit"]
    assert models["chat"]["sizes"]["blocks"] == list(read_sizes(tiny).blocks)
    shown = nodes(namespace)
    assert "one.example" in shown and "GiB" in shown and rpc in shown and "(unfit)" in shown


def redis_keys(place: str) -> list[str]:
    redis = pytest.importorskip("redis")
    with redis.Redis.from_url(f"redis://{place}") as client:
        return sorted(key.decode() for key in client.keys("*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stays_until_it_is_told_to_stop(namespace: str, tmp_path: Path, number: signal.Signals) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(SECONDS)
        program = llama_server()
        surroundings = {"RAYNIXOS_NAMESPACE": namespace, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with begun("register", *cluster(), "--llama-server", program, **surroundings) as process:
            assert systemd.recv(100) == b"READY=1"
            (known,) = ray.get(node_registry().known.remote(), timeout=SECONDS)
            assert (known.report.name, known.report.build) == (socket.gethostname(), build_of(program, SECONDS))
            assert process.poll() is None
            process.send_signal(number)
            code, output, errors = ended(process)
    assert (code, output) == (0, "") and "Traceback" not in errors


def test_where_there_is_no_cluster_it_waits_for_one(tmp_path: Path) -> None:
    with begun("register", "--cluster", "127.0.0.1:1", RAY_TMPDIR=str(tmp_path)) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("no cluster takes this node's report: ClusterError: no Ray answers at '127.0.0.1:1'")
        process.send_signal(signal.SIGTERM)
        code, output, errors = ended(process)
    assert (code, output, errors) == (0, "", "")


def test_a_server_that_another_node_has_is_refused(namespace: str) -> None:
    here = ray.get_runtime_context().get_node_id()
    with listening() as server:
        endpoint = f"127.0.0.1:{port_of(server)}"
        ray.get(node_registry().report.remote(reported("other", here, device(endpoint, "CPU", None))), timeout=SECONDS)
        done = invoked("--name", "one", "--once", "--rpc", f"CPU={endpoint}", "--rpc-build", "11669", *cluster())
    assert f"node 'other' has the RPC server {endpoint} already" in done and "give --rpc the address" in done


def invoked(*arguments: str) -> str:
    """What the command says that is wrong, in this process: its main program ends with 2 for it."""
    result = CliRunner().invoke(app, ["register", *arguments])
    assert isinstance(result.exception, (ValueError, SystemExit)), result
    return result.output + str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rpc", "10.0.0.1:50052"], "write DEVICE=ADDRESS:PORT"),
        (["--rpc", "CPU=10.0.0.1"], "is no ADDRESS:PORT"),
        (["--rpc", "CPU=a:1", "--rpc", "CUDA0=a:1"], "for CPU and for CUDA0"),
        (["--model", "a=/nowhere/a.gguf"], "there is no file /nowhere/a.gguf"),
        (["--model", f"a={__file__}", "--model", f"a={__file__}"], "--model names 'a' twice"),
        (["--models", "/nowhere"], "does not exist"),
        (
            ["--redis", "redis://a", "--redis-password-file", "/nowhere/p"],
            "--redis-password-file is /nowhere/p: No such",
        ),
        (["--redis", "redis://:secret@a"], "--redis has a password, which everybody"),
        (["--redis", "http://a"], "is no URL of Redis"),
        (["--llama-server", "/nowhere/llama-server"], "cannot be started"),
        (["--name", " "], "--name is ' '; write a name"),
    ],
)
def test_options_that_are_wrong(arguments: list[str], words: str) -> None:
    assert words in " ".join(invoked(*arguments).split())


def test_rpc_servers_of_no_known_build_are_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "write --llama-server PROGRAM, or --rpc-build NUMBER" in invoked("--rpc", "CPU=a:1")


def test_what_is_wrong_ends_it_with_2_in_one_line() -> None:
    with begun("register", "--rpc", "CPU") as process:
        code, output, errors = ended(process)
    assert (code, output) == (2, "") and errors.count("\n") == 1 and "error: --rpc is 'CPU'; write DEVICE" in errors
