"""Logs of earlier starts: Ray leaves them behind for ever, here the oldest are removed.

A start of a new cluster makes a session directory of its own. A node that joins its cluster again goes on in the one
that it had, and its logs would grow with every start; so those of the start before are set aside first.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path


def prune(directory: Path, keep: int) -> None:
    """Set the logs of the last start in a Ray temporary directory aside, and keep those of the newest keep starts.

    The newest session directory stays, since Ray may go on in it. Call it only while Ray does not run there.
    """
    sessions = sorted(path for path in directory.glob("session_*") if path.is_dir() and not path.is_symlink())
    for logs in [session / "logs" for session in sessions]:
        if logs.is_dir():
            logs.rename(_aside(logs))
    # Names carry the time, so their order is their age.
    earlier = sorted((logs for session in sessions for logs in session.glob("logs_*")), key=lambda logs: logs.name)
    for logs in earlier[: max(len(earlier) - keep, 0)]:
        shutil.rmtree(logs, ignore_errors=True)
    for session in sessions[:-1]:
        if not any(session.glob("logs_*")):
            shutil.rmtree(session, ignore_errors=True)


def _aside(logs: Path) -> Path:
    ended = time.gmtime(logs.stat().st_mtime)
    name = time.strftime("logs_%Y-%m-%d_%H-%M-%S", ended)
    return next(path for number in range(1_000_000) if not (path := logs.with_name(f"{name}_{number:06}")).exists())
