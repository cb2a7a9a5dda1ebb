"""A node's heartbeat: what it has, every ten seconds, to the registry of the cluster and to Redis."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import ray
from ray.exceptions import RayError, RayTaskError

from ..cluster import ClusterError
from .notices import Notices
from .registry import node_registry
from .reports import NodeReport
from .sensing import Machine

__all__ = ["BEAT", "Heartbeat", "ReportRefused"]

#: Seconds between two reports: a third of those after which one is stale.
BEAT = 10.0
#: Seconds to wait for the registry's answer, whose actor may have to be started first.
_ANSWER = 30.0
#: Seconds until the first try after one that found no cluster; the next ones are twice as far apart, up to a beat.
_PAUSE = 1.0


class ReportRefused(ValueError):
    """The registry does not take a report. The message says why, and what to write instead."""


class Heartbeat:
    """The reports of one machine.

    connect: makes sure that this process is connected to Ray, or raises ClusterError; address: where other nodes reach
    this one, that of Ray's node if None; publish: takes each report besides; notices: takes what is wrong.
    """

    def __init__(
        self,
        machine: Machine,
        connect: Callable[[], None],
        notices: Notices,
        address: str | None = None,
        publish: Callable[[NodeReport], None] | None = None,
    ) -> None:
        self._machine, self._connect, self._notices = machine, connect, notices
        self._address, self._publish = address, publish

    def once(self) -> NodeReport:
        """Make one report, and return it once it is accepted.

        Raises ReportRefused; ClusterError or an error of Ray where there is no cluster, or no answer within 30 s.
        """
        self._connect()
        address = self._address or ray.util.get_node_ip_address()
        report = self._machine.look(ray.get_runtime_context().get_node_id(), address)
        if self._publish is not None:
            # First: who reads that does not need the cluster.
            self._publish(report)
        try:
            ray.get(node_registry().report.remote(report), timeout=_ANSWER)
        except RayTaskError as error:
            if isinstance(error.cause, ValueError):
                raise ReportRefused(str(error.cause)) from None
            raise
        return report

    def until(self, stop: Event, accepted: Callable[[NodeReport], None]) -> None:
        """Report every ten seconds until told to stop.

        accepted: called with each report that the registry took. A report that is refused is made again, and a cluster
        that is away is waited for. Ray ends a process whose node it loses, though, and then another one has to begin.
        """
        pause = _PAUSE
        while not stop.is_set():
            try:
                report = self.once()
            except ReportRefused as error:
                self._notices.wrong("registry", f"this node's report is refused: {error}; trying again", "refused")
                stop.wait(BEAT)
            except (ClusterError, ConnectionError, RayError) as error:
                first = next(iter(str(error).strip().splitlines()), "")
                said = f"no cluster takes this node's report: {type(error).__name__}: {first}; trying again"
                self._notices.wrong("registry", said, "away")
                stop.wait(pause)
                pause = min(2 * pause, BEAT)
            else:
                self._notices.well("registry", "the cluster takes this node's reports again")
                accepted(report)
                pause = _PAUSE
                stop.wait(BEAT)
