"""What makes one node better than another. A policy gives points in parts, or none.

``exact`` looks at what a node can do: see :func:`exact`. ``total-memory`` is the rule of SOLLOL's guide to Ray
clusters, which estimates the model by its name; it charges the whole model to the coordinator although most of its
layers may be elsewhere, and counts a GPU's memory as RAM. It is there to be reproduced.
"""

from __future__ import annotations

import re

from .capacity import MIB, UnitTables
from .facts import Node
from .plans import ExactParts, TotalMemoryParts
from .splitting import Fit

__all__ = ["POLICIES", "billions", "exact", "total_memory"]

POLICIES = ("exact", "total-memory")

_BILLIONS = re.compile(r"(?<![0-9a-z.])([0-9]+(?:\.[0-9]+)?)b(?![0-9a-z])", re.IGNORECASE)


def exact(node: Node, room: int, found: Fit, units: UnitTables, file: str) -> ExactParts:
    """400 for the share of units that stay, 300 for the file on its disks, 200 for headroom, less 300 busy, 200 failed.

    room: bytes of its RAM that layers may use; found: how it holds the model. Headroom is what is left of the RAM that
    its coordinator may use, a share of that: a choice.
    """
    return ExactParts(
        400 * (units.units - found.away) / units.units,
        300.0 if file in node.files else 0.0,
        200 * (room - found.needed) / (room + units.host),
        -300.0 * node.busy,
        -200.0 * node.recent_failures,
    )


def total_memory(node: Node, billion: float) -> TotalMemoryParts:
    """RAM and VRAM less 2048 per billion of parameters, and 5000 for a GPU, in MB of 2**20 bytes."""
    graphics = [device.total for device in node.devices if not device.of_ram]
    return TotalMemoryParts(node.total / MIB, sum(graphics) / MIB, -2048 * billion, 5000.0 if graphics else 0.0)


def billions(name: str) -> float:
    """Billions of parameters as a model's name says them: 70 of ``llama3.1:70b``.

    Raises ValueError for a name that says no number, or more than one.
    """
    found = set(_BILLIONS.findall(name))
    if len(found) != 1:
        raise ValueError(f"model name {name!r} does not say one size, as 70b does; write it, or take policy 'exact'")
    return float(found.pop())
