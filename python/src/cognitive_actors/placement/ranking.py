"""One node as a place for the coordinator: whether it can be it, how good it is, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .capacity import MIB, UnitTables, more_ram, ram_cap
from .eligibility import node_obstacles
from .facts import Node
from .plans import Ranked, mebibytes
from .policies import Parts, exact, total_memory
from .servers import MOST_SERVERS, Found, Row, Server
from .splitting import Fit, fit, wants_more_servers

__all__ = ["Ranker", "order"]


@dataclass(frozen=True)
class Ranker:
    """What all nodes are ranked by.

    file: the model's path; units: what it takes; servers: those that may be used; billion: of parameters, by which
    ``total-memory`` ranks, or None for ``exact``.
    """

    file: str
    units: UnitTables
    servers: Found
    billion: float | None

    def rank(self, node: Node) -> tuple[Ranked, Fit | None]:
        """The node's place, and how it holds the model; None where its memory was not even looked at."""
        parts: Parts = () if self.billion is None else total_memory(node, self.billion)
        score = sum([points for _, points in parts]) if parts else None
        obstacles = node_obstacles(node, self.file)
        if obstacles:
            return Ranked(node.name, False, score, parts, obstacles), None
        room = ram_cap(node) - self.units.host
        found = fit(*self.around(node), room, self.units)
        # In MB, of which there must be one above zero.
        by_score = 0 if score is None or score > 0 else math.ceil((1 - score) * MIB)
        if found.shortfall or by_score:
            more = max(by_score, more_ram(node, room + self.units.host + found.shortfall) if found.shortfall else 0)
            why = self._why_not(node, room, found.shortfall, by_score, more)
            return Ranked(node.name, False, score, parts, why, max(found.shortfall, by_score), more), found
        if self.billion is None:
            parts = exact(node, room, found, self.units, self.file)
            score = sum([points for _, points in parts])
        return Ranked(node.name, True, score, parts, (self._how(found),)), found

    def around(self, node: Node) -> tuple[list[Server], Row]:
        """The node's own servers, and those elsewhere."""
        return self.servers.own.get(node.name, []), self.servers.by_build[node.build].elsewhere(node.name)

    def _how(self, found: Fit) -> str:
        count = self.units.units
        if not found.away:
            return f"all {count} units stay on it"
        return f"{count - found.away} of {count} units stay on it, servers elsewhere: {found.servers}"

    def _why_not(self, node: Node, room: int, shortfall: int, by_score: int, more: int) -> tuple[str, ...]:
        why = [f"by its score the model is {mebibytes(by_score)} MiB too large for it"] if by_score else []
        if not shortfall:
            return tuple(why)
        why.append(
            f"it lacks {mebibytes(shortfall)} MiB of usable RAM beside all that servers can hold,"
            f" as {mebibytes(more)} MiB more RAM would give it"
        )
        servers = self.servers.by_build[node.build]
        if wants_more_servers(*self.around(node), servers.layers_elsewhere(node.name), room, self.units):
            why.append(f"without more RAM it would need more than {MOST_SERVERS} servers")
        others = self.servers.count - len(servers.all)
        if others:
            why.append(f"servers of another build than its own, {node.build}: {others}")
        return tuple(why)


def order(ranked: Ranked) -> tuple[bool, float, str]:
    """For sorting: the best first, then those that lack least; ties by name."""
    if ranked.feasible:
        return False, -(ranked.score or 0.0), ranked.node
    return True, math.inf if ranked.shortfall is None else ranked.shortfall, ranked.node
