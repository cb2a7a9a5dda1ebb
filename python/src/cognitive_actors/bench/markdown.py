"""The table of measurements as Markdown and JSON."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from ..files.results import write_json

if TYPE_CHECKING:
    from .pipeline import Row


def markdown(rows: Sequence[Row], out: Path) -> Path:
    """Write OUT/pipeline.md and OUT/pipeline.json; returns the former."""
    out.mkdir(parents=True, exist_ok=True)
    cpus = ray.cluster_resources().get("CPU", 0)
    lines = [
        "# The pipeline, measured",
        "",
        f"Ray {ray.__version__} with {cpus:g} CPUs, Python {platform.python_version()}, {platform.machine()}."
        " Medians of paired runs; the single machine is the core alone in one process, one thread.",
        "",
        "| Metric | Single machine | Ray cluster | |",
        "|---|---:|---:|---|",
        *(f"| {r.metric} | {r.single} | {r.cluster} | {r.verdict} |" for r in rows),
    ]
    path = out / "pipeline.md"
    path.write_text("\n".join(lines) + "\n")
    write_json(out / "pipeline.json", [asdict(row) for row in rows])
    return path
