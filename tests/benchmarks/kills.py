"""Processes of a cluster that are killed at random, and how long it takes until nothing is to be seen of it."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from containers.errors import CommandFailed
from containers.machine import Machine

# What finds the processes of a kind on a machine.
KINDS = {
    "worker process": "--full '^ray::IDLE'",
    "raylet": "--exact raylet",
    "actor": "--full '^ray::PopulationActor'",
    "agent": "--full '^ray::(DashboardAgent|RuntimeEnvAgent)'",
    "GCS": "--exact gcs_server",
}
# With these a node ends and starts anew: it is there again when they are.
_OF_A_NODE = {"raylet", "agent", "GCS"}


def processes(machine: Machine, kind: str) -> list[int]:
    """The processes of a kind on a machine."""
    # Not succeed: that there is none is an answer as well.
    _, said = machine.execute(f"pgrep --uid ray {KINDS[kind]}", timeout=20)
    return [int(line) for line in said.split()]


@dataclass
class Kill:
    """A process that was killed; times are seconds since the first run began.

    committed: records until then, seen: until now; advances: how often more were committed since; recovered: seconds
    until all was well again, None while it is not; alone: no other process was killed in the meantime.
    """

    kind: str
    machine: str
    process: int
    at: float
    committed: int
    seen: int
    advances: int = 0
    recovered: float | None = None
    alone: bool = True


class Kills:
    """Kills, one after the other, by a random generator of its own."""

    def __init__(self, machines: Sequence[Machine], seed: int) -> None:
        self.machines = list(machines)
        self._by_name = {machine.name: machine for machine in machines}
        self._random = random.Random(seed)
        self.all: list[Kill] = []

    def strike(self, now: float, committed: int) -> Kill | None:
        """Kill a random process of a random kind on a random machine; None when no kind has a process just now."""
        for kind in self._random.sample(sorted(KINDS), len(KINDS)):
            for name in self._random.sample(sorted(self._by_name), len(self._by_name)):
                machine = self._by_name[name]
                found = processes(machine, kind)
                if not found:
                    continue
                process = self._random.choice(found)
                try:
                    machine.succeed(f"kill -KILL {process}", timeout=20)
                except CommandFailed:
                    continue  # it has ended in between
                for open_ in self.open():
                    open_.alone = False
                kill = Kill(kind, name, process, now, committed, committed, alone=not self.open())
                self.all.append(kill)
                return kill
        return None

    def open(self) -> list[Kill]:
        """Those that have not been recovered from."""
        return [kill for kill in self.all if kill.recovered is None]

    def observe(self, now: float, committed: int, whole: bool) -> list[Kill]:
        """Take in how far the runs have come and whether all nodes are alive; those that are over with it.

        One commit may have been under way when the process was killed, so it is the second that shows that the run
        goes on.
        """
        over = []
        for kill in self.open():
            if committed > kill.seen:
                kill.advances += 1
                kill.seen = committed
            if kill.advances >= 2 and whole and self._replaced(kill):
                kill.recovered = now - kill.at
                over.append(kill)
        return over

    def run_ended(self) -> None:
        """A run has come to its end, which shows as well that it went on."""
        for kill in self.open():
            kill.advances = 2

    def _replaced(self, kill: Kill) -> bool:
        if kill.kind not in _OF_A_NODE:
            return True
        found = processes(self._by_name[kill.machine], kill.kind)
        return bool(found) and kill.process not in found


def rows(kills: Sequence[Kill]) -> list[dict[str, object]]:
    """Recoveries by kind, and of all kinds together: how many, median and worst in seconds.

    joined counts those during which another process was killed: their time is that of both.
    """
    found: list[dict[str, object]] = []
    for kind in (*KINDS, "all"):
        of_kind = [kill for kill in kills if kind in (kill.kind, "all")]
        took = [kill.recovered for kill in of_kind if kill.recovered is not None]
        found.append(
            {
                "killed": kind,
                "kills": len(of_kind),
                "joined": sum(not kill.alone for kill in of_kind),
                "recovered": len(took),
                "median": statistics.median(took) if took else None,
                "worst": max(took, default=None),
            }
        )
    return found
