"""The named actor that remembers the routes of agents, as replicas ask it."""

from __future__ import annotations

from typing import Any

from ..actors.routes import RoutesActor
from ..core.routing import RoutingParameters
from .named import SharedActor

#: The actor that remembers the routes, and of how many agents, unless given.
ROUTES_ACTOR, AGENTS_ROUTED = "routes", 4096


class SharedRoutes(SharedActor):
    """Routes in a named, detached actor, as :class:`cognitive_actors.serve.streams.SharedStreams` has streams.

    Where it is not durable and is started again, all agents come from nowhere.
    """

    def __init__(self, name: str = ROUTES_ACTOR, agents: int = AGENTS_ROUTED) -> None:
        """name: of the actor; agents: whose route it remembers at most."""
        super().__init__(name, RoutesActor, agents)
        self.agents = agents

    async def decide(self, agent: str, surprise: float, limits: RoutingParameters, request: str) -> dict[str, Any]:
        """The route of a stimulus, decided once for each request: ``route``, ``surprise`` and ``share``."""
        return dict(await self.ask("decide", agent, surprise, limits, request=request))
