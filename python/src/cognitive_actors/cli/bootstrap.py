"""``cognitive bootstrap``: what must live on the cluster beside the applications of Ray Serve."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..bootstrap.modes import Mode
from ..cluster import ensure_ray_initialized
from . import interruption


def command(
    mode: Annotated[
        Mode, typer.Option(envvar="BOOTSTRAP_MODE", help="The actors that services share, who works on tasks, or both.")
    ] = Mode.all,
    address: Annotated[str | None, typer.Option(help="Ray cluster; RAY_ADDRESS or the node here if left out.")] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Of the tasks: a path on the head, or postgresql://…; COGNITIVE_TASKS.", metavar="PLACE"),
    ] = None,
    dispatchers: Annotated[int, typer.Option(min=1, max=1000, help="Dispatchers of those tasks.")] = 2,
    model: Annotated[
        Path | None, typer.Option(help="Generative model of the agents, as the services have it; the umbrella example.")
    ] = None,
    precision: Annotated[
        float | None, typer.Option(min=0.0, help="Policy precision of the agents at baseline, likewise.")
    ] = None,
    actor: Annotated[str | None, typer.Option(help="Name of the agents' actor, likewise.")] = None,
    forget: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds after which the reaper removes tasks that are done.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for each wait: to answer, to stop, to come up, to do the task.")
    ] = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON what was done.")] = False,
) -> None:
    """Bring to the cluster what must live there, and try it with one task. Again, it changes nothing.

    Exit code 2 where the place of tasks is none, 3 where something does not come up or the task does not succeed.
    """
    # Tasks are not needed by the other commands, and agents take their time.
    try:
        from ..bootstrap.run import Request, bootstrap
    except ImportError as error:
        raise ValueError(f"{error}: pip install 'cognitive-actors[dispatch]'") from None
    given: dict[str, Any] = {
        "model": _path(model),
        "precision": precision,
        "actor": actor,
        "tasks": tasks,
        "forget": forget,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    request = Request(mode=mode, dispatchers=dispatchers, timeout=timeout, **chosen)
    with Console(stderr=True, quiet=as_json).status("reconciling"), redirect_stdout(sys.stderr):
        # Detached actors are of no use on a Ray that ends with this command.
        ensure_ray_initialized(address, allow_embedded=False, deadline=timeout)
        report = bootstrap(request, interruption.check)
    if as_json:
        print(json.dumps({**report, "exit_code": 0}))
    else:
        _print(Console(), report)


def _print(console: Console, report: dict[str, Any]) -> None:
    actors = Table("kind", "name", "action", "why", title=f"namespace {report['namespace']} at {report['address']}")
    for each in report["reconciled"]:
        actors.add_row(each["kind"], each["name"], each["action"], each.get("why", ""))
    console.print(actors)
    task = report["task"]
    console.print(f"a task of kind {task['kind']} was done by {task['by']} in {task['seconds']:.2f} s", highlight=False)


def _path(model: Path | None) -> str | None:
    # Dispatchers have another working directory.
    return None if model is None else str(model.resolve())
