"""The registry on a real Ray: reports of heartbeats, what is refused, and a death that the next reports make good."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import ray
from node_reports import device, listening, port_of, reported
from waiting import until

from cognitive_actors.cluster import ClusterError
from cognitive_actors.llama import reporting
from cognitive_actors.llama.declared import RpcServer
from cognitive_actors.llama.model_files import ModelFiles
from cognitive_actors.llama.notices import Notices
from cognitive_actors.llama.registry import NODES, known_nodes, node_registry
from cognitive_actors.llama.reporting import Heartbeat, ReportRefused
from cognitive_actors.llama.reports import NodeReport
from cognitive_actors.llama.sensing import Machine

SECONDS = 120.0


@pytest.fixture(autouse=True)
def namespace(embedded_ray: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One that no other test has, with no registry in it."""
    chosen = f"nodes-{uuid.uuid4().hex[:12]}"
    monkeypatch.setenv("RAYNIXOS_NAMESPACE", chosen)
    # The registry's process has to be started first.
    monkeypatch.setattr(reporting, "_ANSWER", SECONDS)
    yield chosen
    with suppress(ValueError):
        ray.kill(ray.get_actor(NODES, chosen))


def answer(reference: Any) -> Any:
    return ray.get(reference, timeout=SECONDS)


def heartbeat(name: str, said: list[str], *servers: RpcServer, **options: Any) -> Heartbeat:
    notices = Notices(said.append)
    machine = Machine(name, "11669", "11669", servers, ModelFiles({}), notices)
    return Heartbeat(machine, options.pop("connect", lambda: None), notices, **options)


def test_looking_makes_no_registry() -> None:
    assert known_nodes(SECONDS) == []
    with pytest.raises(ValueError):
        ray.get_actor(NODES, os.environ["RAYNIXOS_NAMESPACE"])


def test_reports_and_failures_come_as_they_were_made() -> None:
    registry = node_registry()
    given = reported("a", None, device("10.0.0.1:50052"))
    answer(registry.report.remote(given))
    for _ in range(3):
        answer(registry.failed.remote("a", "10.0.0.1:50052", "it does not answer"))
    answer(registry.failed.remote("a", None, "it ended with 1"))
    (known,) = known_nodes(SECONDS)
    assert (known.report, known.failures, known.closed, known.shut) == (given, 1, True, frozenset({"10.0.0.1:50052"}))
    assert answer(node_registry().ready.remote()) == answer(registry.ready.remote())


@pytest.mark.parametrize("ending", ["its process is killed", "it is ended for good"])
def test_after_a_death_the_next_reports_bring_the_nodes_back(ending: str) -> None:
    one, other = heartbeat("a", []), heartbeat("b", [])
    one.once()
    other.once()
    before = answer(node_registry().ready.remote())
    assert before["nodes"] == 2
    if ending == "its process is killed":
        os.kill(before["pid"], signal.SIGKILL)
    else:
        ray.kill(node_registry())
    until(lambda: not Path(f"/proc/{before['pid']}").exists(), "the end of its process")
    one.once()
    other.once()
    after = answer(node_registry().ready.remote())
    assert after["nodes"] == 2 and after["pid"] != before["pid"]
    assert [known.report.name for known in known_nodes(SECONDS)] == ["a", "b"]


def test_a_heartbeat_reports_this_machine() -> None:
    with listening() as server:
        endpoint = f"127.0.0.1:{port_of(server)}"
        report = heartbeat("a", [], RpcServer("CPU", "127.0.0.1", port_of(server))).once()
    (known,) = known_nodes(SECONDS)
    assert known.report == report and not known.stale
    assert report.node == ray.get_runtime_context().get_node_id()
    assert report.address == ray.util.get_node_ip_address()
    assert [x.endpoint for x in report.devices] == [endpoint]
    assert heartbeat("a", [], address="node.example").once().address == "node.example"


def test_a_report_that_is_refused_says_why() -> None:
    with listening() as server:
        own = RpcServer("CPU", "127.0.0.1", port_of(server))
        # As a node that is alive under another name.
        here = ray.get_runtime_context().get_node_id()
        answer(node_registry().report.remote(reported("b", here, device(own.endpoint))))
        with pytest.raises(ReportRefused, match="node 'b' has the RPC server"):
            heartbeat("a", [], own).once()


def test_a_node_that_ray_has_lost_makes_way_at_once() -> None:
    here = ray.get_runtime_context().get_node_id()
    answer(node_registry().report.remote(reported("a", "a node that was switched off")))
    assert heartbeat("a", []).once().node == here
    with pytest.raises(ValueError, match="another node reports as 'a'"):
        answer(node_registry().report.remote(reported("a", "another node of Ray")))


def test_a_cluster_that_is_away_is_waited_for_and_said_once() -> None:
    said: list[str] = []
    stop, tries, beside = Event(), iter(["away", "away", "there"]), list[NodeReport]()
    accepted: list[NodeReport] = []

    def connect() -> None:
        if next(tries) == "away":
            raise ClusterError("no Ray answers")

    def end(report: NodeReport) -> None:
        accepted.append(report)
        stop.set()

    heartbeat("a", said, connect=connect, publish=beside.append).until(stop, end)
    assert said == [
        "no cluster takes this node's report: ClusterError: no Ray answers; trying again",
        "the cluster takes this node's reports again",
    ]
    assert accepted == beside and [known.report for known in known_nodes(SECONDS)] == accepted
