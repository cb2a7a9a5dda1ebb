"""Control groups: how everything that a run has started is found and ended, and nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

_MOUNTS = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")
MEMORY_V1 = Path("/sys/fs/cgroup/memory")


def root() -> Path | None:
    """Where cgroup v2 is mounted, alone or beside v1."""
    return next((mount for mount in _MOUNTS if (mount / "cgroup.controllers").is_file()), None)


def memory_group(name: str) -> Path | None:
    """A new group of cgroup v1, which counts memory where v2 does not; None where there is no such hierarchy."""
    if not (MEMORY_V1 / "memory.limit_in_bytes").is_file():
        return None
    group = MEMORY_V1 / name
    group.mkdir(parents=True)
    return group


def limit_memory(group: Path, size: int) -> None:
    """Let the kernel end a process of a group where they take more than this many bytes together."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        if (group / name).is_file():
            (group / name).write_text(str(size))


def processes(group: Path) -> list[int]:
    """The processes in a group and in those below it."""
    found: list[int] = []
    for directory, _, _ in os.walk(group):
        try:
            found += [int(line) for line in (Path(directory) / "cgroup.procs").read_text().split()]
        except OSError:
            continue  # removed meanwhile
    return found


def kill(group: Path, timeout: float = 20.0) -> None:
    """End every process in a group and below it, and wait until they are gone."""
    deadline = time.monotonic() + timeout
    while processes(group):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes of {group} do not end: {processes(group)}")
        try:
            (group / "cgroup.kill").write_text("1")
        except OSError:  # before Linux 5.14
            for process in processes(group):
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        time.sleep(0.02)


def remove(group: Path, timeout: float = 5.0) -> None:
    """Remove a group without processes, and those below it."""
    deadline = time.monotonic() + timeout
    for directory, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                break
            except OSError:
                # A process that has ended stays in its group for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                break
