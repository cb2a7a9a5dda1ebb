"""``cognitive report``: the picture of a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..pipeline import report


def command(
    directory: Annotated[Path, typer.Argument(help="The --out directory of a run.", metavar="DIR")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the path as JSON.")] = False,
) -> None:
    """Draw modulators, salience and free energy over time as DIR/report.png."""
    path = report.draw(directory)
    print(json.dumps({"picture": str(path)}) if as_json else path)
