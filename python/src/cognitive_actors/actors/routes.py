"""Which route each agent's stimuli are on, in one process: what hysteresis must remember."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray
import torch

from ..core.answers import Answers
from ..core.roster import pack_names, unpack_names
from ..core.routing import ROUTES, UNROUTED, Router, RoutingParameters, RoutingState
from ..files.plain_text import from_text, to_text
from .durability import Continuity, Durability, acknowledged
from .process import prepare_process

#: Decisions that are known by their request where the actor is not durable. A choice.
_DECISIONS = 4096


@ray.remote(num_cpus=0, max_restarts=0)
class RoutesActor:
    """A shell around :class:`cognitive_actors.core.routing.Router`, which remembers a route for each agent.

    agents: how many are remembered; where one more comes, the one that was not used for longest is forgotten, and
    routed as if it came from nowhere should it come again. durability, request: as in NeurotransmitterActor; all routes
    are saved together, so that each decision costs as much as there are agents. Limits come with each question: others
    count at once, and the routes stay.
    """

    def __init__(self, agents: int = 4096, durability: Durability | str | None = None) -> None:
        prepare_process()
        if agents < 1:
            raise ValueError(f"agents is {agents}; write 1 or more")
        self.agents, self.forgotten = agents, 0
        # In the order of their last use, and never changed in place.
        self.routes: dict[str, int] = {}
        self._decided = Answers(_DECISIONS)
        self._continuity = Continuity(durability, actor="routes")
        self._continuity.begin(self)

    @acknowledged
    def decide(
        self, agent: str, surprise: float, limits: RoutingParameters | None = None, *, request: str | None = None
    ) -> dict[str, Any]:
        """Route an agent by its newest surprise: ``route``, one of ROUTES; ``surprise``, None for an infinite one; and
        its ``share`` of full surprise.

        surprise: nats of 0 or more, inf for what was impossible; limits: those of RoutingParameters, if left out. A
        request that comes again is answered as the first time, also where the actor is not durable, while its process
        lives and 4096 decisions long. Raises ValueError for NaN.
        """
        if request is not None and request in self._decided:
            return dict(from_text(self._decided.text(request)))
        before = RoutingState(torch.tensor([self.routes.get(agent, UNROUTED)]))
        found = Router(limits).route(before, torch.tensor([surprise], dtype=torch.float64))
        self.routes = self._used(agent, int(found.route))
        nats = surprise if math.isfinite(surprise) else None
        decision = {"route": ROUTES[int(found.route)], "surprise": nats, "share": float(found.share)}
        if request is not None:
            self._decided = self._decided.having(request, to_text(decision, "the decision"))
        return decision

    def route(self, agent: str) -> str | None:
        """The route an agent is on, None for one that is not known."""
        return ROUTES[self.routes[agent]] if agent in self.routes else None

    def status(self) -> dict[str, int]:
        """Agents whose route is known, how many may be, and how many were forgotten for others."""
        return {"routed": len(self.routes), "agents": self.agents, "forgotten": self.forgotten}

    def save(self) -> int | None:
        """Save the state now. Returns its generation in the store, None without durability."""
        return self._continuity.save(self)

    def ready(self) -> dict[str, Any]:
        """Answers once the actor can work."""
        return {**self.status(), "pid": os.getpid()}

    def _used(self, agent: str, route: int) -> dict[str, int]:
        """The routes with this agent as the last that was used, and without the first should they be too many."""
        after = {name: known for name, known in self.routes.items() if name != agent} | {agent: route}
        while len(after) > self.agents:
            del after[next(iter(after))]
            self.forgotten += 1
        return after

    def _snapshot(self) -> dict[str, np.ndarray]:
        routes = RoutingState(torch.tensor(list(self.routes.values()), dtype=torch.int64))
        return {
            **pack_names(list(self.routes)),
            **Router().to_arrays(routes),
            "forgotten": np.array(self.forgotten),
        }

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        names, routes = unpack_names(arrays), Router().from_arrays({"route": arrays["route"]}).route.tolist()
        # They may have been more than are kept now.
        surplus = max(len(names) - self.agents, 0)
        self.routes = dict(list(zip(names, routes, strict=True))[surplus:])
        self.forgotten = int(arrays["forgotten"]) + surplus

    def _memory(self) -> tuple[dict[str, int], int, Answers]:
        return self.routes, self.forgotten, self._decided

    def _recall(self, memory: Any) -> None:
        self.routes, self.forgotten, self._decided = memory
