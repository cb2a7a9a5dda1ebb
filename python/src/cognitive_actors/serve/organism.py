"""``/organism``: the agents' life as a whole, and what they are like. They are those that ``/cognitive`` asks."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from ray import serve

from .application import UNAUTHORIZED, Responses, answers, application, deployed, ready, takes
from .arguments import PopulationArguments
from .guard import CHANGES
from .named import nodes
from .once import TAKEN, Once
from .population import READY_SECONDS
from .problems import Refused, away
from .settings import ServiceSettings
from .stimulus import Cycle, Stimulus, stimulus_of

#: Seconds that the agents' actor is given to start before a client is told to look again.
START_SECONDS = 0.5
UNKNOWN = answers(_404="There is no such agent.")


class OrganismArguments(PopulationArguments):
    """``args`` of the application: those of ``/cognitive`` that say which agents."""


class Nothing(BaseModel):
    """No settings: the model and how agents think are arguments of the services, which must agree on them."""

    model_config = ConfigDict(extra="forbid")


class Life(BaseModel):
    """``phase``: not initialised, starting, ready or stopping."""

    phase: str


class Agents(BaseModel):
    """Names of agents, in the order in which they joined. ``next``: offset of those after them, null at the end."""

    agents: list[str]
    total: int
    next: int | None


class Held(BaseModel):
    """A modality whose content is held in the workspace."""

    modality: str
    salience: float


class Agent(BaseModel):
    """An agent after its last cycle. ``step``: cycles it has lived; ``time``: its clock in seconds of the stimuli;
    ``beliefs``: probabilities by factor and state; ``action``: the last of each controllable factor, null before."""

    agent: str
    step: int
    time: float
    modulators: dict[str, float]
    beliefs: dict[str, dict[str, float]]
    action: dict[str, str] | None
    workspace: list[Held]


class Level(BaseModel):
    """Mean and standard deviation over the agents."""

    mean: float
    spread: float


class Content(BaseModel):
    """A modality in the workspaces of all agents. ``share``: of the agents that hold it; ``salience``: its mean there,
    null where nobody holds it."""

    modality: str
    share: float
    salience: float | None


class Nodes(BaseModel):
    """Machines of the cluster."""

    alive: int
    dead: int


class Overview(BaseModel):
    """All agents together. ``steps``: cycles that they have lived; ``modulators``, ``workspace``: null where there is
    no agent; ``free_energy``: mean in nats over the stimuli that were thought about last, null where none was since the
    actor's process began."""

    agents: int
    steps: int
    modulators: dict[str, Level] | None
    workspace: list[Content] | None
    free_energy: float | None
    nodes: Nodes


STARTING: Responses = {202: {"description": "It goes on; Location says where to look.", "model": Life}}


class Organism:
    """The service in one process, stateless: the agents are in an actor of their own."""

    def __init__(self, arguments: OrganismArguments) -> None:
        self.settings = ServiceSettings.read()
        self.population = arguments.shared(makes=False)

    def __serve_build_asgi_app__(self) -> FastAPI:
        known = stimulus_of(self.population.model)

        async def health() -> None:
            """200 where the agents are ready, 503 with the reason where not."""
            phase, why = await self.population.phase()
            if phase != "ready":
                raise away(why)

        app = application("organism", "Life and view of all agents together.", self.settings, health=health)
        self._add_life(app)
        self._add_views(app)

        @app.post("/step", dependencies=CHANGES, responses=UNAUTHORIZED | TAKEN, response_model=Cycle)
        @takes(stimulus=known)
        async def step(stimulus: Stimulus, once: Once = None) -> JSONResponse:
            """One cycle of the stimulus' agent, as ``/cognitive/execute``."""
            (answer,) = await self.population.think([stimulus.model_dump(exclude_none=True)], keys=[once])
            if isinstance(answer, Refused):
                raise answer
            return JSONResponse(answer)

        return app

    def _add_life(self, app: FastAPI) -> None:
        life: Any = {"dependencies": CHANGES, "responses": UNAUTHORIZED | STARTING, "response_model": Life}

        @app.get("/ready", tags=["health"])
        async def is_ready() -> JSONResponse:
            """Whether the agents can be asked; 503 with the reasons where not."""
            return ready(await self.population.ready(READY_SECONDS))

        @app.get("/status", tags=["health"])
        async def status() -> dict[str, Any]:
            """The agents' phase, their model and actor, and the limits in force."""
            return self._status() | {"phase": (await self.population.phase())[0]}

        @app.post("/initialize", **life)
        async def initialize(request: Request, settings: Nothing | None = None) -> JSONResponse:
            """Bring the agents up: 202 while they start, 200 once they are ready. Again, it changes nothing."""
            await self.population.begin()
            return _life(request, (await self.population.phase(START_SECONDS))[0], "ready")

        @app.post("/shutdown", **life)
        async def shutdown(request: Request) -> JSONResponse:
            """End the agents after what is under way, saved where there is a store: 202 while it goes on, 200 once they
            have ended. Until they are initialised again, nobody makes others. Again, it changes nothing."""
            return _life(request, await self.population.stop(), "not initialised")

    def _add_views(self, app: FastAPI) -> None:
        @app.get("/agents", response_model=Agents)
        async def agents(
            offset: Annotated[int, Query(ge=0, le=1 << 53)] = 0, limit: Annotated[int, Query(ge=1, le=1000)] = 100
        ) -> JSONResponse:
            """Names of the agents, a page at a time."""
            found = await self.population.ask("agents", offset, limit)
            after = offset + len(found["agents"])
            more = bool(found["agents"]) and after < found["total"]
            return JSONResponse({**found, "next": after if more else None})

        @app.get("/agents/{name:path}", response_model=Agent, responses=UNKNOWN)
        async def agent(name: Annotated[str, Path(min_length=1, max_length=200)]) -> JSONResponse:
            """One agent."""
            found = await self.population.ask("agent", name)
            if found is None:
                raise Refused(404, f"there is no agent {name!r}; it joins with its first stimulus")
            return JSONResponse(found)

        @app.get("/overview", response_model=Overview)
        async def overview() -> JSONResponse:
            """All agents together, and the machines they live on."""
            found = await self.population.ask("overview")
            return JSONResponse({**found, "nodes": await nodes()})

    def _status(self) -> dict[str, Any]:
        population = self.population
        return {
            "service": "organism",
            "model": population.model.name,
            "actor": population.name,
            "durable": population.durability is not None,
            "timeout": self.settings.timeout,
            "in_flight": self.settings.in_flight,
            "authenticated": self.settings.token is not None,
        }


def _life(request: Request, phase: str, wanted: str) -> JSONResponse:
    if phase == wanted:
        return JSONResponse({"phase": phase})
    return JSONResponse({"phase": phase}, 202, headers={"Location": f"{request.scope.get('root_path', '')}/health"})


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, as a Serve configuration names it: ``cognitive_actors.serve.organism:build``.

    arguments: as :class:`OrganismArguments` has them. Raises ValueError for others.
    """
    return deployed(Organism, OrganismArguments.model_validate(arguments))
