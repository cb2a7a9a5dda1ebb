"""Old logs go, new ones and everything else stay."""

from __future__ import annotations

import os
from pathlib import Path

from sessions import prune


def start(directory: Path, session: str, day: int) -> None:
    """What a start of Ray leaves in its session."""
    logs = directory / f"session_{session}" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text(f"day {day}")
    os.utime(logs, (86400 * day, 86400 * day))


def remembered(directory: Path) -> list[str]:
    """What the logs that are still there say, oldest first."""
    paths = sorted(directory.glob("session_2*/logs*/raylet.out"), key=lambda path: path.parent.name)
    return [path.read_text() for path in paths]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for day in range(1, 8):
        start(tmp_path, f"2026-01-0{day}", day)
    (tmp_path / "session_latest").symlink_to("session_2026-01-07")
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:6379")
    prune(tmp_path, 2)
    assert remembered(tmp_path) == ["day 6", "day 7"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ray_current_cluster",
        "session_2026-01-06",
        "session_2026-01-07",
        "session_latest",
    ]


def test_starts_in_one_session_are_kept_apart(tmp_path: Path) -> None:
    for day in range(1, 6):
        start(tmp_path, "2026-01-01", day)
        prune(tmp_path, 2)
    assert remembered(tmp_path) == ["day 4", "day 5"]
    start(tmp_path, "2026-01-01", 5)
    prune(tmp_path, 3)
    assert remembered(tmp_path) == ["day 4", "day 5", "day 5"]


def test_none_may_be_kept_and_nothing_need_be_there(tmp_path: Path) -> None:
    start(tmp_path, "2026-01-01", 1)
    prune(tmp_path, 0)
    assert not remembered(tmp_path)
    prune(tmp_path / "not there", 3)
