"""``cognitive run``: files of stimuli through the pipeline."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..core.cycle import CycleSettings
from ..core.workspace import WorkspaceParameters
from ..pipeline import report
from ..pipeline.examples import example_model
from ..pipeline.run import Advance, RunRequest, run
from . import attempts, interruption
from .choices import OnError


def command(
    files: Annotated[list[Path], typer.Argument(help="JSONL, CSV or Parquet files of stimuli.", metavar="FILE…")],
    model: Annotated[
        Path | None, typer.Option(help="Generative model (YAML or NPZ); the umbrella example if left out.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for results, rejects, summary and picture.")] = Path("results"),
    address: Annotated[str | None, typer.Option(help="Ray cluster; embedded Ray if none is named or running.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    on_error: Annotated[
        OnError, typer.Option(help="What a bad record does: stop the run, or go to rejects.jsonl.")
    ] = OnError.fail,
    shards: Annotated[int | None, typer.Option(min=1, help="Actors; one per CPU of the cluster if left out.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[float, typer.Option(min=0.0, help="Policy precision at baseline.")] = 4.0,
    gate: Annotated[bool, typer.Option("--gate", help="Only what the workspace broadcasts reaches inference.")] = False,
    time_scale: Annotated[float, typer.Option(min=1e-12, help="Seconds of the mind per second of the stimuli.")] = 1.0,
    salience_threshold: Annotated[
        float, typer.Option(min=0.0, help="Salience from which a modality is broadcast, at baseline.")
    ] = WorkspaceParameters().theta0,
    seed: Annotated[int, typer.Option(min=0, help="Of the random generator.")] = 0,
    commit_seconds: Annotated[float, typer.Option(min=0.0, help="Work that a crash may cost at most.")] = 10.0,
    patience: Annotated[
        float, typer.Option(min=0.0, help="Seconds to go on trying, without getting further, when the cluster is lost.")
    ] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run stimuli through the cognitive pipeline, in order for every agent."""
    request = RunRequest(
        paths=files,
        model=model or example_model(),
        out=out,
        on_error=on_error.value,
        resume=resume,
        settings=CycleSettings(
            precision=precision,
            gate=gate,
            time_scale=time_scale,
            seed=seed,
            workspace=WorkspaceParameters().at_threshold(salience_threshold),
        ),
        shards=shards,
        device=device,
        commit_seconds=commit_seconds,
        address=address,
    )
    console = Console(stderr=True, quiet=as_json)
    attempts.say("patience", patience)
    committed: int | None = None
    try:
        with _bar(console) as bar:
            task = bar.add_task("starting", total=None, rejects=0)

            def show(advance: Advance) -> None:
                nonlocal committed
                interruption.check()
                attempts.say("began")
                if committed is None:
                    committed = advance.committed
                elif advance.committed > committed:
                    attempts.say("committed")
                bar.update(
                    task,
                    description="stimuli",
                    completed=advance.done,
                    total=advance.total,
                    rejects=advance.rejects,
                )

            # Ray prints to standard output, which is the summary's, that a node was lost.
            with redirect_stdout(sys.stderr):
                summary = run(request, show)
    except (KeyboardInterrupt, SystemExit):
        console.print("run the same command with --resume to go on", style="yellow")
        raise
    picture = report.draw(out) if summary["results"] else None
    if picture is None:
        # That of an earlier run would not belong to these results.
        (out / "report.png").unlink(missing_ok=True)
    if as_json:
        print(json.dumps(summary))
        return
    _print(Console(), summary, out, picture)


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rejects]} rejected"),
        TimeRemainingColumn(),
        console=console,
    )


def _print(console: Console, summary: dict[str, Any], out: Path, picture: Path | None) -> None:
    figures = Table("figure", "mean", "lowest", "highest", title=f"{summary['model']}: {summary['agents']} agents")
    for name, x in summary["figures"].items():
        shown = ("infinite" if x[k] is None else f"{x[k]:.3f}" for k in ("mean", "min", "max"))
        figures.add_row(name.replace("_", " "), *shown)
    console.print(figures)
    for name, share in summary["broadcast"].items():
        console.print(f"broadcast {name}: {share:.1%} of stimuli")
    for factor, taken in summary["actions"].items():
        console.print(f"action {factor}: " + ", ".join(f"{name} {count:,}" for name, count in taken.items()))
    console.print(
        f"records {summary['records']:,} = results {summary['results']:,} + rejects {summary['rejects']:,}"
        f" in {summary['seconds']:.1f} s ({summary['stimuli_per_second']:,.0f} stimuli/s)"
    )
    console.print(f"results {out / 'results.parquet'}" + (f", picture {picture}" if picture else ""))
