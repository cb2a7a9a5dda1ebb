"""Old sessions go, new ones and everything else stay."""

from __future__ import annotations

from pathlib import Path

from sessions import prune


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for day in range(1, 8):
        (tmp_path / f"session_2026-01-0{day}_00-00-00_000000_{day}" / "logs").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to("session_2026-01-07_00-00-00_000000_7")
    (tmp_path / "ray_current_cluster").write_text("10.0.0.1:6379")
    prune(tmp_path, 2)
    assert sorted(path.name[:18] for path in tmp_path.iterdir()) == [
        "ray_current_cluste",
        "session_2026-01-06",
        "session_2026-01-07",
        "session_latest",
    ]


def test_none_may_be_kept_and_nothing_need_be_there(tmp_path: Path) -> None:
    (tmp_path / "session_2026-01-01").mkdir()
    prune(tmp_path, 0)
    assert not list(tmp_path.iterdir())
    prune(tmp_path / "not there", 3)
