"""Models and nodes that the tests of the planner place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cognitive_actors.placement.capacity import MIB
from cognitive_actors.placement.facts import Device, Node
from cognitive_actors.placement.model_sizes import ModelSizes

FILE = "/models/model.gguf"
BUILD = "b11669"


def seventy(bits: float, name: str = "llama3:70b") -> ModelSizes:
    """Llama 3 70B by its dimensions, ``bits`` per weight: 80 layers of 8192, 8 KV heads of 128, 128256 tokens.

    With the 32000 tokens of Llama 2 the node .20 of the examples would hold all of it at 16 bits.
    """
    width, inner, keys, vocabulary = 8192, 28672, 8 * 128, 128256
    layer = 2 * width * width + 2 * width * keys + 3 * width * inner + 2 * width
    block, matrix = int(layer * bits / 8), int(vocabulary * width * bits / 8)
    return ModelSizes(name, "llama", (block,) * 80, matrix + width * 4, matrix, 8, 128, 128, 8192)


def node(name: str, ram: int, vram: int = 0, *, server: bool = True, **changes: Any) -> Node:
    """A node of so many MiB, all free, with the file, and an RPC server for its GPU and one for its CPU."""
    devices = [Device("gpu", vram * MIB, vram * MIB, f"{name}:50052", BUILD)] if vram else []
    if server:
        devices.append(Device("cpu", ram * MIB, ram * MIB, f"{name}:50053", BUILD, of_ram=True))
    made = Node(name, name, BUILD, ram * MIB, ram * MIB, tuple(devices), frozenset({FILE}))
    return replace(made, **changes)


def with_ram(old: Node, more: int) -> Node:
    """The node with ``more`` bytes of RAM, all free."""
    return replace(old, total=old.total + more, available=old.available + more)


def three() -> list[Node]:
    """The nodes of the guide: 16 GB, 128 GB with a GPU of 24 GB, 32 GB, in MB as it has them."""
    return [node("192.168.1.10", 16000), node("192.168.1.20", 128000, 24000), node("192.168.1.21", 32000)]
