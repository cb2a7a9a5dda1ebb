"""``cognitive status``: what the cluster is made of."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..cluster import ensure_ray_initialized, get_ray_cluster_info


def command(
    address: Annotated[str | None, typer.Option(help="Ray cluster; RAY_ADDRESS or the node here if left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """Show the nodes and resources of a cluster. Exit code 3 where there is none."""
    ensure_ray_initialized(address, allow_embedded=False, deadline=10.0)
    info = get_ray_cluster_info()
    if as_json:
        print(json.dumps(info))
        return
    console = Console()
    console.print(
        f"Ray {info['ray']}, Python {info['python']} at {info['address']}, namespace {info['namespace']}:"
        f" {info['nodes_alive']} nodes alive, {info['nodes_dead']} dead"
    )
    nodes = Table("node", "address", "state", "CPU", "GPU", "memory")
    for node in info["nodes"]:
        r = node["resources"]
        nodes.add_row(
            node["host"],
            node["address"],
            "alive" if node["alive"] else "dead",
            f"{r.get('CPU', 0):g}",
            f"{r.get('GPU', 0):g}",
            f"{r.get('memory', 0) / 2**30:.1f} GiB",
        )
    console.print(nodes)
