"""What is known of the nodes that may run a model: the planner sees nothing else of the cluster.

A device is one that an RPC server of llama.cpp offers, one server each, whose memory is its own (a GPU) or its node's
(``of_ram``). llama-server itself has no other backend than these and the CPU: a GPU beside it is reached over its RPC
server too, so that all devices are counted and leased alike.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Device", "Node"]


@dataclass(frozen=True)
class Device:
    """A device and the RPC server that offers it.

    name: for people, unique on its node; total, free: bytes of its memory; endpoint: ``address:port`` of its RPC
    server, unique in the cluster, since a server takes one client; build: of llama.cpp, as the server says it; leased:
    another coordinator has the server; of_ram: its memory is its node's RAM (a server on the CPU).
    Raises ValueError for less than no memory, for more free than there is, and for an endpoint with a comma in it.
    """

    name: str
    total: int
    free: int
    endpoint: str
    build: str
    leased: bool = False
    of_ram: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.free <= self.total:
            raise ValueError(f"device {self.name!r} has {self.free} of {self.total} bytes free; write 0 to its total")
        if "," in self.endpoint:
            raise ValueError(f"device {self.name!r} has the endpoint {self.endpoint!r}; write one address:port")


@dataclass(frozen=True)
class Node:
    """A node as its last report has it.

    name: unique in the cluster; address: where the others reach it; build: of its llama-server, empty where it has
    none; total, available: bytes of RAM; devices: at most one of them of its RAM; files: paths of the model files on
    its own disks; shared_files: paths that it reads over the network; alive: as the cluster sees it; age: seconds since
    the report, which is stale after :data:`~cognitive_actors.placement.eligibility.STALE_AFTER`; breaker_closed: it is
    not shut out for what it did before; free_slots: coordinators that it may still start; busy: share of its time that
    it works, 0 to 1; recent_failures: coordinators that failed on it of late, as whoever reports counts them;
    may_coordinate: whoever asks lets it be the coordinator, whose devices serve others all the same.
    Raises ValueError for numbers outside these and for two devices of its RAM, which would be counted twice.
    """

    name: str
    address: str
    build: str
    total: int
    available: int
    devices: tuple[Device, ...] = ()
    files: frozenset[str] = frozenset()
    shared_files: frozenset[str] = frozenset()
    alive: bool = True
    age: float = 0.0
    breaker_closed: bool = True
    free_slots: int = 1
    busy: float = 0.0
    recent_failures: int = 0
    may_coordinate: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.available <= self.total:
            has = f"{self.available} of {self.total} bytes of RAM available"
            raise ValueError(f"node {self.name!r} has {has}; write 0 to its total")
        if not 0 <= self.busy <= 1:
            raise ValueError(f"node {self.name!r} is busy for {self.busy}; write a share of its time, 0 to 1")
        if self.recent_failures < 0:
            raise ValueError(f"node {self.name!r} has {self.recent_failures} recent failures; write 0 or more")
        if sum(device.of_ram for device in self.devices) > 1:
            raise ValueError(f"node {self.name!r} has two devices of its RAM; write one RPC server on its CPU")
