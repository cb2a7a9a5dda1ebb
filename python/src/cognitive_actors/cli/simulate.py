"""``cognitive simulate``: agents in an environment."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ..core.cycle import CycleSettings
from ..core.environments import ENVIRONMENTS
from ..pipeline.simulate import SimulationRequest, simulate
from . import interruption


def command(
    environment: Annotated[str, typer.Argument(help=f"One of {', '.join(ENVIRONMENTS)}.", metavar="ENV")],
    agents: Annotated[int, typer.Option(min=1, help="How many agents.")] = 100,
    trials: Annotated[int, typer.Option(min=1, help="Trials of each agent.")] = 10,
    option: Annotated[
        list[str] | None, typer.Option(help="Of the environment, as NAME=VALUE; may be repeated.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for results and summary.")] = Path("simulation"),
    address: Annotated[str | None, typer.Option(help="Ray cluster; embedded Ray if none is named or running.")] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Actors; one per CPU of the cluster if left out.")] = None,
    precision: Annotated[float, typer.Option(min=0.0, help="Policy precision at baseline.")] = 4.0,
    alpha: Annotated[float | None, typer.Option(min=0.0, help="Sample actions with this precision.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No neuromodulation: the bare engine.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the random generator.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Let agents act in an environment and report how they fare."""
    chosen = {"precision": precision, "alpha": alpha, "seed": seed}
    settings = CycleSettings.plain(**chosen) if plain else CycleSettings(**chosen)  # type: ignore[arg-type]
    request = SimulationRequest(environment, agents, trials, out, _options(option or []), settings, shards, address)
    console = Console(stderr=True, quiet=as_json)
    with Progress(console=console) as bar:
        task = bar.add_task(f"{environment}, {agents} agents", total=trials)

        def show(done: int) -> None:
            interruption.check()
            bar.update(task, completed=done)

        # Ray prints to standard output, which is the summary's, that a node was lost.
        with redirect_stdout(sys.stderr):
            summary = simulate(request, show)
    if as_json:
        print(json.dumps(summary))
        return
    table = Table("measure", "mean", "standard error", "first trial", "last trial", title=environment)
    for name, x in summary["measures"].items():
        shown = (x["mean"], x["standard_error"], x["per_trial"][0], x["per_trial"][-1])
        table.add_row(name.replace("_", " "), *("–" if v is None else f"{v:.3f}" for v in shown))
    Console().print(table)
    print(f"results {out / 'simulation.parquet'}")


def _options(pairs: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--option {pair!r} has no value; write NAME=VALUE, such as cue_validity=0.75")
        try:
            # YAML reads numbers, booleans and lists as people write them.
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--option {pair!r} is no value ({error}); write NAME=VALUE, such as moves=20") from None
        options[name] = tuple(parsed) if isinstance(parsed, list) else parsed
    return options
