"""The RPC servers that may be used, by the build that a coordinator must have, the roomiest first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

from .capacity import UnitTables, device_cap
from .eligibility import server_obstacle, trusted
from .facts import Device, Node
from .plans import LeftOut

__all__ = ["MOST_SERVERS", "Found", "Row", "Server", "Servers", "check_endpoints", "find_servers"]

#: RPC servers that llama-server takes; one more, and it aborts.
MOST_SERVERS = 16


class Server(NamedTuple):
    """A server and what it holds. They sort by the first three: the roomiest first, then by name of the node.

    less_cap: bytes that it may give, negative; layers: how many it holds if it is not the last in the model; units: how
    many if it is, the output unit included, 0 if it cannot be; loss: what being the last costs it in units, inf where
    it cannot be.
    """

    less_cap: int
    node: str
    endpoint: str
    device: Device
    layers: int
    units: int
    loss: float


class Row:
    """Servers in their order, and what the first n of them hold, n = 0 to all.

    layers[n]: if none is the last in the model; loss[n]: what the one costs that loses least by being the last;
    units[n]: if that one is the last. Since more room is never fewer layers and never fewer units, the first n are the
    best n.
    """

    __slots__ = ("layers", "loss", "servers", "units")

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = servers
        self.layers = list(accumulate([server.layers for server in servers], initial=0))
        self.loss = list(accumulate([server.loss for server in servers], min, initial=math.inf))
        self.units = [layers - loss for layers, loss in zip(self.layers, self.loss, strict=True)]


class Servers:
    """The servers of one build: ``all`` in their order, ``first`` the first :data:`MOST_SERVERS` with their sums."""

    def __init__(self, servers: list[Server]) -> None:
        servers.sort()
        self.all = servers
        self.first = Row(servers[:MOST_SERVERS])
        self._firsts = {server.node for server in self.first.servers}

    def elsewhere(self, node: str) -> Row:
        """The first servers that are not the node's."""
        if node not in self._firsts:
            return self.first
        # The node's RAM is not offered to itself either: what lies there is its coordinator's.
        return Row([server for server in self.all if server.node != node][:MOST_SERVERS])

    def layers_elsewhere(self, node: str) -> int:
        """What all servers hold that are not the node's, however many they are."""
        return self._layers.total() - self._layers[node]

    @cached_property
    def _layers(self) -> Counter[str]:
        layers: Counter[str] = Counter()
        for server in self.all:
            layers[server.node] += server.layers
        return layers


@dataclass(frozen=True)
class Found:
    """The servers that hold anything of a model.

    by_build: with an entry for every node's build; own: by the name of their node, those of its build and with a memory
    of their own, in their order, the first :data:`MOST_SERVERS`; left_out: those that no coordinator can use.
    """

    by_build: dict[str, Servers]
    own: dict[str, list[Server]]
    left_out: tuple[LeftOut, ...]

    @cached_property
    def count(self) -> int:
        """How many there are in all builds."""
        return sum(len(servers.all) for servers in self.by_build.values())


def find_servers(nodes: Sequence[Node], units: UnitTables, compute: int) -> Found:
    """Find the servers that may be used; ``compute``: bytes of a device's compute buffer."""
    builds: dict[str, list[Server]] = {node.build: [] for node in nodes}
    own: dict[str, list[Server]] = {}
    left_out: list[LeftOut] = []
    for node in nodes:
        trust = trusted(node)
        for device in node.devices:
            if not trust or device.leased or device.build not in builds:
                why = server_obstacle(node, device, builds.keys())
                left_out.append(LeftOut(node.name, device.name, device.endpoint, str(why)))
                continue
            server = _server(node, device, units, compute)
            if server.layers or server.units:
                builds[device.build].append(server)
                if device.build == node.build and not device.of_ram:
                    own.setdefault(node.name, []).append(server)
    for mine in own.values():
        mine.sort()
        del mine[MOST_SERVERS:]
    by_build = {build: Servers(servers) for build, servers in builds.items()}
    return Found(by_build, own, tuple(sorted(left_out)))


def _server(node: Node, device: Device, units: UnitTables, compute: int) -> Server:
    cap = device_cap(node, device, compute)
    layers, last = units.layers_anywhere(cap), units.units_last(cap)
    return Server(-cap, node.name, device.endpoint, device, layers, last, layers - last if last else math.inf)


def check_endpoints(nodes: Sequence[Node]) -> None:
    """Raise ValueError for two devices behind one endpoint, which would be leased twice."""
    endpoints = [device.endpoint for node in nodes for device in node.devices]
    if len(set(endpoints)) < len(endpoints):
        twice = next(x for x in sorted(endpoints) if endpoints.count(x) > 1)
        names = sorted(node.name for node in nodes for device in node.devices if device.endpoint == twice)
        both = f"devices of {' and '.join(names)}"
        raise ValueError(f"{both} have the endpoint {twice}; write one RPC server for each device")
