"""How much of a memory may be used, and how many units of a model go into that.

The caps are those that were found good with llama.cpp::

    RAM       available - max(1 GiB, 10 % of the total)
    device    free - max(512 MiB, 5 % of the total) - compute buffer

The reserve is a part of the total and not of what is left, a choice: what a system takes in spite of its reports grows
with the system.

llama.cpp gives every device a run of consecutive units. So that the order of the devices makes no difference, a device
counts for as many layers as fit wherever in the model they lie: for layers of one size that is exact, and where sizes
differ it may be one less than luck would have. The coordinator's CPU gets the first layers and the last device the
output unit, and those two are counted exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from .facts import Device, Node
from .model_sizes import ModelSizes

__all__ = ["GIB", "MIB", "UnitTables", "device_cap", "more_ram", "ram_cap", "tables"]

MIB = 2**20
GIB = 2**30
HALF_GIB = 2**29
#: Bytes that a coordinator takes beside the model: its code, its buffers, its requests.
COORDINATOR = 256 * MIB


def ram_cap(node: Node) -> int:
    """Bytes of the node's RAM that a coordinator may use; below zero where the reserve is not even there."""
    reserve = node.total // 10
    return node.available - (reserve if reserve > GIB else GIB)


def more_ram(node: Node, cap: int) -> int:
    """Bytes of RAM that the node would need beside its own, free, for a cap of ``cap`` bytes."""
    missing = cap - node.available
    # A tenth of what is added goes to the reserve.
    return max(0, missing + GIB, -(-(10 * missing + node.total) // 9))


def device_cap(node: Node, device: Device, compute: int) -> int:
    """Bytes of a device that layers and their caches may use; ``compute``: bytes of its compute buffer."""
    free, reserve = device.free, device.total // 20
    if device.of_ram and node.available < free:
        free = node.available
    return free - (reserve if reserve > HALF_GIB else HALF_GIB) - compute


@dataclass(frozen=True)
class UnitTables:
    """What so many units of a model take, in bytes with their cache; the position in each table is the number of them.

    first: the first layers; anywhere: consecutive layers where they take most; last: the output unit and, from
    position 0 on, that many of the last layers; host: what the coordinator takes without any layer; units: how many
    there are, layers and the output unit; everything: bytes of them all.
    """

    first: list[int]
    anywhere: list[int]
    last: list[int]
    host: int
    units: int
    everything: int

    @property
    def least(self) -> int:
        """Bytes below which a device holds neither a layer nor the output unit."""
        return min(self.last[0], *self.anywhere[1:2])

    def size(self, begin: int, end: int) -> int:
        """Bytes of the units from ``begin`` up to ``end``, the output unit being the last."""
        if end < self.units:
            return self.first[end] - self.first[begin]
        return self.everything - self.first[begin] if begin < self.units else 0

    def layers_first(self, cap: int) -> int:
        """How many of the first layers fit into ``cap`` bytes; -1 if that is less than nothing."""
        return bisect_right(self.first, cap) - 1

    def layers_anywhere(self, cap: int) -> int:
        """How many layers fit into ``cap`` bytes wherever they lie."""
        return bisect_right(self.anywhere, cap, 1) - 1

    def units_last(self, cap: int) -> int:
        """How many of the last units fit into ``cap`` bytes; 0 if not even the output unit does."""
        return bisect_right(self.last, cap)


def tables(model: ModelSizes, context: int, compute: int) -> UnitTables:
    """The tables of a model with ``context`` tokens of cache; ``compute``: bytes of a device's compute buffer.

    Of the compute buffer the coordinator's host gets a quarter, for what it hands over.
    """
    cache = model.cache(context)
    layers = [block + cache for block in model.blocks]
    first = list(accumulate(layers, initial=0))
    if len(set(layers)) > 1:
        starts = range(len(first))
        anywhere = [max(first[i + n] - first[i] for i in starts[: len(first) - n]) for n in starts]
    else:
        anywhere = first
    last = [model.output + x for x in accumulate(reversed(layers), initial=0)]
    return UnitTables(first, anywhere, last, model.host + COORDINATOR + -(-compute // 4), model.units, last[-1])
