"""What one run makes on this machine, and that it goes again: a directory, a control group, a network.

The directory is locked by its run. A run that could not clean up, because it was killed, leaves an unlocked one, and
the next run clears it away. Processes end with the run in any case: the kernel ends them (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
from pathlib import Path
from types import TracebackType

from . import cgroup
from .network import Network

# Not /tmp: that may be a tmpfs, and machines write much.
BASE = Path("/var/tmp")
PREFIX = "ray-nixos-"
_LOCK, _KEPT = "lock", "kept"
_ENDED_WITHIN = 20.0


class Workspace:
    """The directory, control group and network of one run; a context manager."""

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        # Those that end when their control group does, and are to be waited for.
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Workspace:
        sweep()
        found = cgroup.root()
        if found is None:
            raise RuntimeError("cgroup v2 is not mounted; mount it: mount -t cgroup2 none /sys/fs/cgroup")
        # What is made here is seen by every user of a machine.
        self._umask = os.umask(0o022)
        # Under its final name it is locked from the first moment, so that no other run takes it for a leftover.
        self.name = f"{PREFIX}{secrets.token_hex(4)}"
        new = BASE / f".{self.name}"
        new.mkdir()
        self._lock = _locked(new)
        self.directory = new.rename(BASE / self.name)
        self.cgroup = found / self.name
        self.cgroup.mkdir()
        self.memory = cgroup.memory_group(self.name)
        self.network = Network()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.umask(self._umask)
        if self._keep:
            (self.directory / _KEPT).touch()
        _end(self.cgroup)
        for process in self.processes:
            process.wait(_ENDED_WITHIN)
        if self.memory is not None:
            cgroup.remove(self.memory)
        self.network.close()
        if not self._keep:
            shutil.rmtree(self.directory)
        os.close(self._lock)


def sweep(base: Path = BASE) -> list[Path]:
    """Clear away what killed runs have left; the directories that were removed."""
    found = cgroup.root()
    removed = []
    for directory in base.glob(f"{PREFIX}*"):
        if (directory / _KEPT).exists():
            continue
        try:
            lock = _locked(directory)
        except OSError:
            continue  # its run is alive, or another one clears it away
        if found is not None:
            _end(found / directory.name)
        if cgroup.MEMORY_V1.is_dir():
            cgroup.remove(cgroup.MEMORY_V1 / directory.name)
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)
        removed.append(directory)
    return removed


def _locked(directory: Path) -> int:
    lock = os.open(directory / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _end(group: Path) -> None:
    cgroup.kill(group)
    cgroup.remove(group)
