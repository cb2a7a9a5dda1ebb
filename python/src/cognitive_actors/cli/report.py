"""``cognitive report``: the picture of a finished run or simulation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..pipeline import report, simulation_report


def command(
    directory: Annotated[Path, typer.Argument(help="The --out directory of a run or a simulation.", metavar="DIR")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths as JSON.")] = False,
) -> None:
    """Draw what happened over time: DIR/report.png of a run, DIR/simulation.png of a simulation."""
    paths = []
    simulated = (directory / "simulation.parquet").exists()
    if simulated:
        paths.append(simulation_report.draw(directory))
    if not simulated or (directory / "results.parquet").exists():
        paths.append(report.draw(directory))
    print(json.dumps({"pictures": [str(path) for path in paths]}) if as_json else "\n".join(map(str, paths)))
