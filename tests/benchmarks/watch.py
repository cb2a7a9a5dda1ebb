"""Probes on machines: drivers that are asked from outside when the cluster answered again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from containers.machine import Machine

_SCRIPT = "/usr/local/lib/probe.py"
_LOOK_SECONDS = 0.2


def install(machine: Machine) -> None:
    """Bring the probe onto a machine."""
    machine.copy_from_host(str(Path(__file__).with_name("probe.py")), _SCRIPT)


@dataclass(frozen=True)
class Watch:
    """A probe on a machine.

    question, address: what it asks, see probe.py; figure: what an answer means; renewed: only an answer that
    names another process or node than the one before counts.
    """

    machine: str
    question: str
    address: str
    figure: str
    renewed: bool

    @property
    def _unit(self) -> str:
        return f"probe-{self.question}"

    @property
    def _file(self) -> str:
        return f"/var/lib/ray/{self._unit}"

    def start(self, machine: Machine) -> tuple[int, str]:
        """Ask, and wait for the first answer: the process that it is about (0 if none), and the answer."""
        self.stop(machine)
        machine.succeed(
            f"rm -f {self._file}; systemd-run --quiet --collect --unit={self._unit} --uid=ray --gid=ray "
            f"--property=WorkingDirectory=/var/lib/ray --setenv=HOME=/var/lib/ray bash -c "
            f"'. /etc/profile; export RAY_ADDRESS=auto; "
            f"exec python3 {_SCRIPT} {self._file} {self.question} {self.address}'"
        )
        # A task has no answer before it is disturbed.
        wanted = "process" if self.question == "task" else "[0-9]"
        machine.wait_until_succeeds(f"grep --quiet '^{wanted}' {self._file}", timeout=120)
        lines = machine.succeed(f"cat {self._file}").split("\n")
        process = next((int(line.split()[1]) for line in lines if line.startswith("process")), 0)
        answers = _answers(lines)
        return process, answers[0][1] if answers else ""

    def wait(self, machine: Machine, since: int, before: str, limit: float) -> float | None:
        """Seconds from a moment (in nanoseconds) until it answered as wanted; None if not within limit seconds."""
        while True:
            _, said = machine.execute(f"cat {self._file}", timeout=20)
            for began, value, ended in _answers(said.split("\n")):
                if (began > since or self.question == "task") and (not self.renewed or _new(value, before)):
                    return (ended - since) / 1e9
            if (time.time_ns() - since) / 1e9 > limit:
                machine.log(f"no answer as wanted; the last lines of {self._file}:")
                machine.log("\n".join(said.split("\n")[-4:]))
                return None
            time.sleep(_LOOK_SECONDS)

    def stop(self, machine: Machine) -> None:
        """End the probe."""
        machine.execute(f"systemctl stop {self._unit} 2> /dev/null")


def _new(value: str, before: str) -> bool:
    """Whether an answer names what the one before did not."""
    return bool(set(value.split("+")) - set(before.split("+")))


def _answers(lines: list[str]) -> list[tuple[int, str, int]]:
    """Began, value, ended of whole lines of answers."""
    parts = [line.split() for line in lines]
    return [(int(p[0]), p[2], int(p[1])) for p in parts if len(p) == 3 and p[0].isdecimal()]
