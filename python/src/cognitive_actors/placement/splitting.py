"""How a model's units are shared out once its coordinator is known.

What is near comes first: the coordinator's own devices, then its CPU, then as few servers elsewhere as hold the rest,
the roomiest ones. A unit that stays is one whose activations do not cross the network for every token; that a slow CPU
here is preferred to a fast device elsewhere is a choice, the one that the largest part of the score makes too.

llama.cpp counts from the first layer: the CPU's come first, then the devices' in the order of --rpc, and the last of
them has the output unit. That is the roomiest device here if this leaves room for everything, else the next one, and
only then one elsewhere: an output unit here keeps the logits off the network.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from .capacity import UnitTables
from .plans import Share, Split
from .servers import MOST_SERVERS, Row, Server

__all__ = ["Fit", "fit", "split", "wants_more_servers"]


class Fit(NamedTuple):
    """What a node can do as coordinator.

    here, servers: how many of its own servers and of those elsewhere it uses; last: the position of the last device
    among its own, None for one elsewhere; kept: units on its CPU; away: units that are elsewhere; needed: bytes of
    its RAM that layers take, or would have to have where the model does not fit.
    """

    here: int
    servers: int
    last: int | None
    kept: int
    away: int
    needed: int


def fit(own: Sequence[Server], others: Row, room: int, units: UnitTables) -> Fit:
    """How a node would hold the model, with the fewest servers elsewhere.

    own: its servers, in their order; others: those elsewhere; room: bytes of its RAM that layers may use. Of that it
    only matters how many of the first layers it holds, and whether it holds everything.
    """
    count, here = units.units, len(own)
    cpu = units.layers_first(room)
    layers, loss = _sums(own)
    if cpu >= 0:
        wanted = count - cpu - layers
        if loss + wanted <= 0:
            return _share(own, layers, 0, cpu, units)
        if units.everything <= room:
            return Fit(0, 0, None, count, 0, units.everything)
        # The last is one here, or one elsewhere.
        n = min(bisect_left(others.layers, wanted + loss), bisect_left(others.units, wanted))
        if n < len(others.layers) and n + here <= MOST_SERVERS:
            return _share(own, layers, n, cpu, units, others.layers[n])
    return _crowded(own, others, cpu, units)


def _sums(servers: Sequence[Server]) -> tuple[int, float]:
    """What they hold if none of them is the last, and the least that one loses by being it, inf if none can."""
    layers, loss = 0, math.inf
    for server in servers:
        layers += server.layers
        if server.loss < loss:
            loss = server.loss
    return layers, loss


def _crowded(own: Sequence[Server], others: Row, cpu: int, units: UnitTables) -> Fit:
    """As :func:`fit`, where all own servers and as many others as there is room for beside them do not do."""
    best, most = -math.inf, len(others.servers)
    for n in range(min(most, MOST_SERVERS - len(own)), most + 1):
        # Each one more elsewhere takes the place of one here.
        mine = own[: MOST_SERVERS - n]
        layers, loss = _sums(mine)
        held = layers + others.layers[n] - min(loss, others.loss[n])
        if cpu >= 0 and held + cpu >= units.units:
            return _share(mine, layers, n, cpu, units, others.layers[n])
        best = max(best, held)
    # The CPU would have to keep what servers do not hold: all, where none of them can be the last.
    needed = units.everything if best < 1 else units.first[max(0, units.units - int(best))]
    return Fit(0, 0, None, 0, 0, needed)


def _share(own: Sequence[Server], layers: int, servers: int, cpu: int, units: UnitTables, elsewhere: int = 0) -> Fit:
    """Share the units out: to the node's own servers, its CPU, which can keep ``cpu`` layers, and elsewhere.

    layers, elsewhere: what its own servers, and so many servers elsewhere, hold if none of them is the last.
    """
    count = units.units
    # The output unit is on a device: if not on one here, it is not the CPU's either.
    near, left, place = min(count - 1, layers), count - 1, None
    for last, server in enumerate(own):
        if layers - server.loss + cpu + elsewhere >= count:
            near, left, place = min(count, layers - int(server.loss)), count, last
            break
    kept = min(cpu, left - near)
    return Fit(len(own), servers, place, kept, count - near - kept, units.first[kept])


def wants_more_servers(own: Sequence[Server], others: Row, elsewhere: int, room: int, units: UnitTables) -> bool:
    """Whether a node would hold the model if llama-server took more servers.

    elsewhere: layers that all servers elsewhere hold; the others are as in :func:`fit`.
    """
    cpu = units.layers_first(room)
    layers, loss = _sums(own)
    return cpu >= 0 and layers + elsewhere - min(loss, others.loss[-1]) + cpu >= units.units


def split(own: Sequence[Server], others: Row, cap: int, found: Fit, units: UnitTables) -> Split:
    """The split that ``found`` is of; ``cap``: bytes of the node's RAM that its coordinator may use."""
    near, far = own[: found.here], others.servers[: found.servers]
    last = _last_elsewhere(near, far, cap, units) if found.last is None else near[found.last]
    near_units, left = _fill(near, last, units.units - 1)
    far_units, _ = _fill(far, last, left - found.kept)
    pairs = [*zip(far, far_units, strict=True), *zip(near, near_units, strict=True)]
    order = [pair for pair in pairs if pair[0] is not last] + [pair for pair in pairs if pair[0] is last]
    shares, begin = [], found.kept
    for server, n in order:
        if n:
            size, device = units.size(begin, begin + n), server.device
            shares.append(Share(server.node, device.name, device.endpoint, n, size, -server.less_cap))
            begin += n
    return Split(found.kept, tuple(shares), units.host + units.size(0, found.kept), cap)


def _last_elsewhere(near: Sequence[Server], far: Sequence[Server], cap: int, units: UnitTables) -> Server | None:
    """The roomiest of those elsewhere that leaves room for everything by being the last; None if there are none."""
    held = sum(server.layers for server in (*near, *far)) + units.layers_first(cap - units.host)
    return next((server for server in far if held - server.loss >= units.units), None)


def _fill(servers: Sequence[Server], last: Server | None, left: int) -> tuple[list[int], int]:
    """Units of each, with the output unit for ``last``, and how many of ``left`` layers are left after that."""
    given = []
    for server in servers:
        n = min(left, server.units - 1 if server is last else server.layers)
        given.append(n + (server is last))
        left -= n
    return given, left
