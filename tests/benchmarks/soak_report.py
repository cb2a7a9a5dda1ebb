"""What a soak has found: its figures, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import kills
from kills import Kill

_COUNTS = ("lost", "doubled", "different")


@dataclass
class Run:
    """One run: its records, its seconds from start to end, and what became of it; failed says why it ended badly."""

    name: str
    records: int = 0
    seconds: float = 0.0
    lost: int = 0
    doubled: int = 0
    different: int = 0
    failed: str = ""

    @property
    def good(self) -> bool:
        """Whether it came to what the undisturbed run did."""
        return not (self.lost or self.doubled or self.different or self.failed)


def figures(
    undisturbed: Run, runs: Sequence[Run], found: Sequence[Kill], records: int, seconds: float
) -> dict[str, Any]:
    """All figures. Records and seconds are those of the time in which processes were killed."""
    ended = [run for run in runs if run.seconds or run.failed]
    calm = undisturbed.records / undisturbed.seconds if undisturbed.seconds else 0.0
    disturbed = records / seconds if seconds else 0.0
    return {
        "seconds": seconds,
        "records": records,
        "records_per_second": disturbed,
        "undisturbed_records_per_second": calm,
        "share": disturbed / calm if calm else None,
        "runs": len(ended),
        "failed": sum(bool(run.failed) for run in ended),
        **{name: sum(getattr(run, name) for run in ended) for name in _COUNTS},
        "recoveries": kills.rows(found),
    }


def good(of: dict[str, Any]) -> bool:
    """Whether at least one run ended, and nothing was lost, doubled or different."""
    return bool(of["runs"]) and not any(of[name] for name in (*_COUNTS, "failed"))


def markdown(of: dict[str, Any]) -> str:
    """The figures as two tables."""
    lines = [
        "| figure | undisturbed | killed at random |",
        "|---|---:|---:|",
        f"| records/s | {of['undisturbed_records_per_second']:.0f} | {of['records_per_second']:.0f} |",
        f"| runs compared | | {of['runs']} |",
        *(f"| {name} results | | {of[name]} |" for name in _COUNTS),
        f"| runs that failed | | {of['failed']} |",
        "",
        "| killed | kills | recovered | median, s | worst, s | another kill meanwhile |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in of["recoveries"]:
        times = " | ".join("" if row[name] is None else f"{row[name]:.1f}" for name in ("median", "worst"))
        lines.append(f"| {row['killed']} | {row['kills']} | {row['recovered']} | {times} | {row['joined']} |")
    return "\n".join(lines) + "\n"
