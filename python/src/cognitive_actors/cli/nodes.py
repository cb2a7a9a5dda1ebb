"""``cognitive nodes``: what the nodes of a cluster have for language models, as they report it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..cluster import ensure_ray_initialized, get_ray_namespace
from ..llama.registry import Known, known_nodes
from ..llama.reports import DeviceReport, ModelReport

_NONE = (
    "no node reports what it has for language models; on each, run: cognitive register --models FOLDER"
    " --rpc CUDA0=ADDRESS:PORT"
)


def command(
    address: Annotated[str | None, typer.Option(help="Ray cluster; RAY_ADDRESS or the node here if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON, memory in bytes.")] = False,
) -> None:
    """Show which node has what for language models. Exit code 3 where there is no cluster."""
    ensure_ray_initialized(address, allow_embedded=False, deadline=10.0)
    found = known_nodes()
    if as_json:
        print(json.dumps({"namespace": get_ray_namespace(), "nodes": [_as_json(known) for known in found]}))
        return
    console = Console()
    if not found:
        console.print(_NONE, markup=False, highlight=False, soft_wrap=True)
        return
    table = Table(show_lines=True)
    # Endpoints are to be read and copied; names of models make room for them.
    table.add_column("node", overflow="fold")
    table.add_column("RPC servers, memory free", overflow="fold", no_wrap=True)
    table.add_column("models", overflow="fold", min_width=8)
    table.add_column("state", overflow="fold")
    for known in found:
        table.add_row(*(Text(cell) for cell in _row(known)))
    console.print(table)


def _row(known: Known) -> tuple[str, ...]:
    report = known.report
    build = f"build {report.build}" if report.build else "no llama-server"
    memory = _memory(report.available, report.total)
    return (
        f"{report.name}\n{report.address}\n{build}\nRAM {memory} free\n{report.busy:.0%} busy",
        "\n".join(_device(device, shut=device.endpoint in known.shut) for device in report.devices),
        "\n".join(map(_model, report.models)),
        _state(known),
    )


def _device(device: DeviceReport, *, shut: bool) -> str:
    what = f"{device.name} {device.gpu}" if device.gpu else device.name
    said = f"{what}\n  {_memory(device.free, device.total)}\n  {device.endpoint}"
    return f"{said}\n  breaker open" if shut else said


def _model(model: ModelReport) -> str:
    notes = ["shared"] if model.shared else []
    if model.unfit is not None:
        notes.append("unfit")
    return f"{model.name} ({', '.join(notes)})" if notes else model.name


def _state(known: Known) -> str:
    said = [f"{'stale, ' if known.stale else ''}{known.age:.0f} s old"]
    if known.failures:
        said.append(f"{known.failures} failures")
    if not known.closed:
        said.append("breaker open")
    return "\n".join(said)


def _memory(free: int, total: int) -> str:
    return f"{free / 2**30:.1f}/{total / 2**30:.1f} GiB"


def _as_json(known: Known) -> dict[str, Any]:
    return {
        **asdict(known.report),
        "age": known.age,
        "stale": known.stale,
        "failures": known.failures,
        "breaker_closed": known.closed,
        "shut": sorted(known.shut),
    }
