"""The RPC servers that may be used, by the build that a coordinator must have, the roomiest first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, islice
from typing import NamedTuple

from .capacity import UnitTables, device_cap
from .eligibility import server_obstacle, trusted
from .facts import Device, Node
from .plans import LeftOut

__all__ = ["MOST_SERVERS", "Found", "Row", "Server", "Servers", "check_endpoints", "find_servers"]

#: RPC servers that llama-server takes a split over: it has 16 devices at most, one of which is none of them.
MOST_SERVERS = 15


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


#: A server that is not looked at closer: bytes that it may give, negative, its node's name, its endpoint, its device.
Offer = tuple[int, str, str, Device]


class Servers:
    """The servers of one build that hold anything of a model.

    count: how many they are; first: the first :data:`MOST_SERVERS` of them.
    """

    def __init__(self, offers: list[Offer], units: UnitTables) -> None:
        offers.sort()
        self._offers, self._units, self.count = offers, units, len(offers)
        self.first = Row([server_of(offer, units) for offer in offers[:MOST_SERVERS]])
        self._firsts = {server.node for server in self.first.servers}

    def elsewhere(self, node: str) -> Row:
        """The first servers that are not the node's."""
        if node not in self._firsts:
            return self.first
        # The node's RAM is not offered to itself either: what lies there is its coordinator's.
        others = islice((offer for offer in self._offers if offer[1] != node), MOST_SERVERS)
        return Row([server_of(offer, self._units) for offer in others])

    def layers_elsewhere(self, node: str) -> int:
        """What all servers hold that are not the node's, however many they are."""
        layers, total = self._layers
        return total - layers.get(node, 0)

    @cached_property
    def _layers(self) -> tuple[dict[str, int], int]:
        layers: dict[str, int] = {}
        for less_cap, node, _, _ in self._offers:
            layers[node] = layers.get(node, 0) + self._units.layers_anywhere(-less_cap)
        return layers, sum(layers.values())


def server_of(offer: Offer, units: UnitTables) -> Server:
    """What the server holds of the model."""
    layers, last = units.layers_anywhere(-offer[0]), units.units_last(-offer[0])
    return Server(*offer, layers, last, layers - last if last else math.inf)


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
        return sum(servers.count for servers in self.by_build.values())


def find_servers(nodes: Sequence[Node], units: UnitTables, compute: int) -> Found:
    """Find the servers that may be used; ``compute``: bytes of a device's compute buffer."""
    builds: dict[str, list[Offer]] = {node.build: [] for node in nodes}
    own: dict[str, list[Server]] = {}
    left_out: list[LeftOut] = []
    least = units.least
    for node in nodes:
        trust = trusted(node)
        for device in node.devices:
            if not trust or device.leased or device.build not in builds:
                why = server_obstacle(node, device, builds.keys())
                left_out.append(LeftOut(node.name, device.name, device.endpoint, str(why)))
                continue
            cap = device_cap(node, device, compute)
            if cap >= least:
                offer = (-cap, node.name, device.endpoint, device)
                builds[device.build].append(offer)
                if not device.of_ram and device.build == node.build:
                    own.setdefault(node.name, []).append(server_of(offer, units))
    for mine in own.values():
        if len(mine) > 1:
            mine.sort()
            del mine[MOST_SERVERS:]
    by_build = {build: Servers(offers, units) for build, offers in builds.items()}
    return Found(by_build, own, tuple(sorted(left_out)))


def check_endpoints(nodes: Sequence[Node]) -> None:
    """Raise ValueError for two devices behind one endpoint, which would be leased twice."""
    endpoints = [device.endpoint for node in nodes for device in node.devices]
    if len(set(endpoints)) < len(endpoints):
        twice = next(x for x in sorted(endpoints) if endpoints.count(x) > 1)
        names = sorted(node.name for node in nodes for device in node.devices if device.endpoint == twice)
        both = f"devices of {' and '.join(names)}"
        raise ValueError(f"{both} have the endpoint {twice}; write one RPC server for each device")
