"""``cognitive bench``: how fast the pipeline is here."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..bench.markdown import markdown
from ..bench.pipeline import measure
from ..cluster import ensure_ray_initialized


def command(
    out: Annotated[Path, typer.Option(help="Directory for pipeline.md and pipeline.json.")] = Path("benchmarks"),
    rounds: Annotated[int, typer.Option(min=1, help="Paired runs of each measurement.")] = 5,
    address: Annotated[str | None, typer.Option(help="Ray cluster; embedded Ray if none is named or running.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Measure the pipeline on Ray beside the core alone in one process, in turn, and print medians."""
    console = Console(stderr=True, quiet=as_json)
    with console.status("measuring; about a minute"):
        ensure_ray_initialized(address)
        rows = measure(rounds)
    markdown(rows, out)
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    table = Table("Metric", "Single machine", "Ray cluster", "")
    for row in rows:
        table.add_row(row.metric, row.single, row.cluster, row.verdict)
    Console().print(table)
    print(f"written to {out / 'pipeline.md'}")
