"""Processes that tests start, look at and kill. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

#: Settings of the surroundings that would lead to another Ray.
_RAY_SETTINGS = ("RAY_ADDRESS", "RAY_HOST", "RAY_PORT", "RAY_NAMESPACE", "RAYNIXOS_NAMESPACE", "SEEDCORE_NS")


def python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A Python process in a group of its own, as a shell would start it."""
    surroundings = {k: v for k, v in os.environ.items() if k not in _RAY_SETTINGS}
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**surroundings, **environment},
        start_new_session=True,
    )


def descendants(ancestor: int) -> dict[int, str]:
    """pid -> command line of every process below ``ancestor``."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                commands[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, ValueError):
                continue  # It has ended meanwhile.
    found: set[int] = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return {pid: commands[pid] for pid in found - {ancestor} if pid in commands}


def populations(of: int | None = None) -> set[int]:
    """The processes of PopulationActors below this process or another."""
    return {pid for pid, command in descendants(of or os.getpid()).items() if "PopulationActor" in command}


def kill_population(of: int | None = None, besides: Collection[int] = ()) -> int:
    """kill -9 the PopulationActors below this process or another, besides some; returns how many."""
    pids = populations(of).difference(besides)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    return len(pids)


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    """Wait for a condition while a process runs; fails with its output if it ends, or after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
