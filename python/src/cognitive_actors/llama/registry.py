"""Which nodes there are for language models, as they report it themselves, and what failed on them of late.

All of it is in the memory of one actor. Where that is started again it knows nothing until the nodes' next heartbeats,
at most 10 s later, and failures are forgotten.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ray

from ..cluster.settings import default_namespace
from ..placement.eligibility import STALE_AFTER
from .breaker import Breaker
from .reports import NodeReport

__all__ = ["FORGOTTEN_AFTER", "NODES", "Known", "NodeRegistry", "NodeRegistryActor", "known_nodes", "node_registry"]

#: The name of the actor.
NODES = "llama-nodes"
#: Seconds without a report after which a node is none any more.
FORGOTTEN_AFTER = 600.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """A node as it is known.

    report: its last; age: seconds since that came; failures: recent ones of its coordinators; closed: whether it may
    be a coordinator for all of these; shut: endpoints of its RPC servers that are not to be used for a while.
    """

    report: NodeReport
    age: float
    failures: int = 0
    closed: bool = True
    shut: frozenset[str] = frozenset()

    @property
    def stale(self) -> bool:
        """Whether the report says nothing of the node any more."""
        return not self.age <= STALE_AFTER


class NodeRegistry:
    """The nodes' last reports, and breakers of coordinators (by node) and of RPC servers (by endpoint).

    clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: dict[str, tuple[NodeReport, float]] = {}
        self._nodes: dict[str, Breaker] = {}
        self._servers: dict[str, Breaker] = {}

    def report(self, report: NodeReport, lost: Callable[[str], bool] = lambda node: False) -> None:
        """Take a node's report instead of its last one.

        Raises ValueError, and keeps what it has, for a name that another node of Ray reported under in the last 30 s,
        for an RPC server that a node of another name has in a report as young, and for one that it names twice. A node
        that began again is another one for Ray: lost: asked whether a node, by its id, is there no more, which lets
        it in at once.
        """
        now = self._clock()
        self._check(report, now, lost)
        endpoints = {device.endpoint for device in report.devices}
        for name, (old, moment) in self._reports.items():
            # Only a stale one can still have it, and nobody is to see a server twice.
            if name != report.name and any(device.endpoint in endpoints for device in old.devices):
                kept = tuple(device for device in old.devices if device.endpoint not in endpoints)
                self._reports[name] = (replace(old, devices=kept), moment)
        self._reports[report.name] = (report, now)

    def failed(self, node: str, endpoint: str | None, why: str) -> None:
        """A coordinator failed on a node, by its name; with an endpoint, it was that RPC server's fault."""
        breakers, key = (self._nodes, node) if endpoint is None else (self._servers, endpoint)
        breakers[key] = breakers.get(key, Breaker()).failed(self._clock())
        at_fault = f"the RPC server {endpoint}" if endpoint else "the node"
        _log.warning("a coordinator failed on node %r, %s is at fault: %s", node, at_fault, why)

    def known(self) -> list[Known]:
        """The nodes that reported in the last ten minutes, by name."""
        now = self._clock()
        self._reports = {name: x for name, x in self._reports.items() if now - x[1] <= FORGOTTEN_AFTER}
        self._nodes, self._servers = (
            {key: breaker for key, breaker in breakers.items() if breaker.recent(now)}
            for breakers in (self._nodes, self._servers)
        )
        return [self._known(*self._reports[name], now) for name in sorted(self._reports)]

    def _known(self, report: NodeReport, moment: float, now: float) -> Known:
        breaker = self._nodes.get(report.name, Breaker())
        shut = {
            device.endpoint
            for device in report.devices
            if not self._servers.get(device.endpoint, Breaker()).closed(now)
        }
        return Known(report, now - moment, breaker.recent(now), breaker.closed(now), frozenset(shut))

    def _check(self, report: NodeReport, now: float, lost: Callable[[str], bool]) -> None:
        endpoints = [device.endpoint for device in report.devices]
        for endpoint in endpoints:
            if endpoints.count(endpoint) > 1:
                raise ValueError(f"node {report.name!r} has the RPC server {endpoint} twice; write one device for each")
        for name, (other, moment) in self._reports.items():
            if not now - moment <= STALE_AFTER or (other.node != report.node and lost(other.node)):
                continue
            if name == report.name and other.node != report.node:
                raise ValueError(
                    f"another node reports as {name!r}, from {other.address} {now - moment:.0f} s ago; give this one"
                    f" another --name, or wait until that report is {STALE_AFTER:.0f} s old if it was this machine's"
                )
            taken = {device.endpoint for device in other.devices}.intersection(endpoints)
            if name != report.name and taken:
                raise ValueError(
                    f"node {name!r} has the RPC server {min(taken)} already, as it reported {now - moment:.0f} s ago;"
                    f" give --rpc the address under which others reach this machine's own"
                )


@ray.remote(num_cpus=0, max_restarts=0)
class NodeRegistryActor:
    """A shell around :class:`NodeRegistry`, whose methods these are."""

    def __init__(self) -> None:
        self._registry = NodeRegistry()

    def report(self, report: NodeReport) -> None:
        """Take a node's report. Raises ValueError for one that is refused."""
        self._registry.report(report, _lost)

    def failed(self, node: str, endpoint: str | None, why: str) -> None:
        """Count a failure of a node's coordinator, or of an RPC server."""
        self._registry.failed(node, endpoint, why)

    def known(self) -> list[Known]:
        """The nodes, by name."""
        return self._registry.known()

    def ready(self) -> dict[str, Any]:
        """Answers once the actor can work."""
        return {"nodes": len(self._registry.known()), "pid": os.getpid()}


def _lost(node: str) -> bool:
    """Whether Ray has no such node, or none that is alive."""
    return all(each["NodeID"] != node for each in ray.nodes() if each["Alive"])


def node_registry() -> Any:
    """The registry's actor of the connected cluster, made where there is none. It outlives whoever made it."""
    return NodeRegistryActor.options(  # type: ignore[attr-defined]
        name=NODES,
        namespace=default_namespace(),
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
    ).remote()


def known_nodes(seconds: float = 10.0) -> list[Known]:
    """The nodes that the connected cluster knows, by name; none where nobody has reported yet. Makes no actor.

    seconds: to wait for the answer. Raises ray.exceptions.GetTimeoutError and other errors of Ray.
    """
    try:
        actor = ray.get_actor(NODES, default_namespace())
    except ValueError:
        return []
    found: list[Known] = ray.get(actor.known.remote(), timeout=seconds)
    return found
