"""What a node says of itself: facts of the machine alone. Who has leased what, the cluster knows better."""

from __future__ import annotations

from dataclasses import dataclass

from ..placement import ModelSizes

__all__ = ["DeviceReport", "ModelReport", "NodeReport"]


@dataclass(frozen=True)
class DeviceReport:
    """A device and the RPC server that offers it.

    name: unique on its node, as llama.cpp names it (``CUDA0``, ``CPU``); endpoint: ``address:port`` of its RPC server;
    total, free: bytes of its memory; build: of llama.cpp; gpu: the product's name, None where the device is the CPU,
    whose memory is the node's RAM.
    """

    name: str
    endpoint: str
    total: int
    free: int
    build: str
    gpu: str | None = None


@dataclass(frozen=True)
class ModelReport:
    """A model file that the node reaches.

    name: what requests call it; path; shared: it is read over the network; sizes: what it takes, None where the planner
    does not cover it, and unfit says why.
    """

    name: str
    path: str
    shared: bool = False
    sizes: ModelSizes | None = None
    unfit: str | None = None


@dataclass(frozen=True)
class NodeReport:
    """A node as it sees itself.

    name: unique in the cluster, for people; node: its id in Ray; address: where the others reach it; build: of its
    llama-server, empty where it has none; total, available: bytes of RAM; busy: share of its processors' time that they
    work, 0 to 1.
    """

    name: str
    node: str
    address: str
    build: str
    total: int
    available: int
    busy: float = 0.0
    devices: tuple[DeviceReport, ...] = ()
    models: tuple[ModelReport, ...] = ()
