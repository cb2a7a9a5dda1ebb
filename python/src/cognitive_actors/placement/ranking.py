"""One node as a place for the coordinator: whether it can be it, how good it is, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .capacity import MIB, UnitTables, more_ram, ram_cap
from .eligibility import node_obstacles
from .facts import Node
from .plans import Ranked, Split
from .policies import exact, total_memory
from .servers import MOST_SERVERS, Found, Row, Server
from .splitting import Fit, fit, split, wants_more_servers

__all__ = ["Ranker", "order"]

#: A node's own servers, and those elsewhere.
Around = tuple[Sequence[Server], Row]
BY_SCORE = "by its score the model is too large for it"
NO_ROOM = "it has no room for what servers do not hold"
MORE_SERVERS = f"without more RAM it would need more than {MOST_SERVERS} servers"


@dataclass(frozen=True)
class Ranker:
    """What all nodes are ranked by.

    file: the model's path; units: what it takes; servers: those that may be used; billion: of parameters, by which
    ``total-memory`` ranks, or None for ``exact``; fits: what was found of nodes, for those that are alike.
    """

    file: str
    units: UnitTables
    servers: Found
    billion: float | None
    fits: dict[tuple[str, int, bool, int, int], Fit] = field(default_factory=dict)

    def rank(self, node: Node) -> Ranked:
        """The node's place."""
        parts = None if self.billion is None else total_memory(node, self.billion)
        obstacles = node_obstacles(node, self.file)
        if obstacles:
            return Ranked(node.name, False, parts, obstacles)
        units, room = self.units, ram_cap(node) - self.units.host
        around = self.around(node)
        found = self._fit(node.build, *around, room)
        shortfall = max(0, found.needed - room)
        by_score = 0 if parts is None else _short_by_score(sum(parts))
        if shortfall or by_score:
            more = max(by_score, more_ram(node, units.host + found.needed) if shortfall else 0)
            notes = self._why_not(node, around, room, shortfall, by_score)
            return Ranked(node.name, False, parts, notes, max(shortfall, by_score), more)
        points = exact(node, room, found, units, self.file) if parts is None else parts
        return Ranked(node.name, True, points, (self._how(found),))

    def _fit(self, build: str, own: Sequence[Server], others: Row, room: int) -> Fit:
        units = self.units
        if len(own) > 1 or others is not self.servers.by_build[build].first:
            return fit(own, others, room, units)
        # In a cluster many nodes are alike in these, and what one does the others can do.
        layers, last = (own[0].layers, own[0].units) if own else (0, 0)
        alike = (build, units.layers_first(room), room >= units.everything, layers, last)
        found = self.fits.get(alike)
        if found is None:
            found = self.fits[alike] = fit(own, others, room, units)
        return found

    def split(self, node: Node) -> Split:
        """The split of a node that can hold the model."""
        own, others = self.around(node)
        cap = ram_cap(node)
        return split(own, others, cap, fit(own, others, cap - self.units.host, self.units), self.units)

    def around(self, node: Node) -> Around:
        """The node's own servers, and those elsewhere."""
        return self.servers.own.get(node.name, ()), self.servers.by_build[node.build].elsewhere(node.name)

    def _how(self, found: Fit) -> str:
        count = self.units.units
        if not found.away:
            return f"all {count} units stay on it"
        return f"{count - found.away} of {count} units stay on it, servers elsewhere: {found.servers}"

    def _why_not(self, node: Node, around: Around, room: int, shortfall: int, by_score: int) -> tuple[str, ...]:
        notes = [BY_SCORE] if by_score else []
        if shortfall:
            servers = self.servers.by_build[node.build]
            notes.append(NO_ROOM)
            if wants_more_servers(*around, servers.layers_elsewhere(node.name), room, self.units):
                notes.append(MORE_SERVERS)
            strange = self.servers.count - servers.count
            if strange:
                notes.append(f"servers of another build than its own, {node.build}: {strange}")
        return tuple(notes)


def _short_by_score(score: float) -> int:
    """Bytes of RAM that a score in MB is short of one MB."""
    return 0 if score > 0 else math.ceil((1 - score) * MIB)


def order(ranked: Ranked) -> tuple[bool, float, str]:
    """For sorting: the best first, then those that lack least; ties by name."""
    if ranked.feasible:
        return False, -sum(ranked.parts or ()), ranked.node
    return True, math.inf if ranked.shortfall is None else ranked.shortfall, ranked.node
