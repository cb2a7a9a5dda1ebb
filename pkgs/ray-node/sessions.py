"""Ray leaves a directory of logs behind for every start and removes none: the oldest are removed here."""

from __future__ import annotations

import shutil
from pathlib import Path


def prune(directory: Path, keep: int) -> None:
    """Remove all but the newest keep session directories of a Ray temporary directory.

    Names carry the time of the start, so their order is their age. Call it only while Ray does not run there.
    """
    sessions = sorted(path for path in directory.glob("session_*") if path.is_dir() and not path.is_symlink())
    for path in sessions[: max(len(sessions) - keep, 0)]:
        shutil.rmtree(path, ignore_errors=True)
