"""``/pipeline``: stimuli as durable tasks, on routes that their surprise decides: at once, later, or with care.

A task is a graph in the store of tasks, under a key made of the client's id, so that it is there once whoever enqueues
it. What is to be done at once is enqueued as well, and then taken by the replica itself: where that dies, the lease
runs out, and a dispatcher does it. Each agent's stimuli should be sent one after the other where they carry times: one
that waits is late once a later one of its agent has been worked on.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated, Any, get_args
from urllib.parse import quote

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field
from ray import serve
from ray.exceptions import RayActorError, RayError, RayTaskError

from ..core.routing import RoutingParameters
from ..dispatch import Claim, Owner, Retries, Task, TaskError, TaskHopeless, TaskStore, TaskStoreError, enqueue_graph
from ..files.errors import InputError
from .application import UNAUTHORIZED, Responses, answers, application, deployed, ready, takes
from .arguments import PopulationArguments
from .dispatchers import dispatchers, reaper
from .effort import CYCLES, HANDLERS, Late, advice, chunk_of, cycle, failure, payload
from .guard import CHANGES
from .pipeline_bodies import (
    PROGRESS,
    NewTask,
    PipelineTask,
    PipelineTasks,
    Progress,
    Route,
    cycle_of,
    graph_of,
    new_task_of,
    nodes_of,
    pipeline_task,
    progressing,
)
from .problems import Refused
from .routes import AGENTS_ROUTED, ROUTES_ACTOR, SharedRoutes
from .settings import ServiceSettings
from .tasks import SharedTasks

#: Seconds that each of those that are asked is given to say that it is there.
READY_SECONDS = 2.0
#: The part of the service's time after which a task that should be done at once is left to the dispatchers, and
#: seconds that its lease lasts longer than the service's time.
_AT_ONCE, _LEASE = 0.75, 2.0
_POLL_SECONDS = 0.05
_FINAL: tuple[Progress, ...] = ("done", "failed", "cancelled")
#: Pauses between attempts, so long that agents can be begun anew meanwhile: 1, 4, 16, 64 s, half of each by chance.
_PAUSES: dict[str, Any] = {"first": 1.0, "factor": 4.0, "most": 300.0, "jitter": 0.5}

WAITING: Responses = {202: {"description": "It is yet to be done; Location says where to look.", "model": PipelineTask}}
OTHER = answers(_409="The id is that of a task of other content, or the stimulus is older than the last of its agent.")
ENDED = answers(_409="The task has been done, or has failed.")
UNKNOWN = answers(_404="There is no such task.")
TaskId = Annotated[str, Path(min_length=1, max_length=200)]


class PipelineArguments(PopulationArguments):
    """``args`` of the application, beside which agents it is for. tasks: place of the durable tasks, that of
    COGNITIVE_TASKS without one, and a file that is lost with the cluster where neither is; dispatchers: how many it
    sees to, and a reaper with them, 0 where somebody else does; attempts: at a task, the first included; forget:
    seconds after which tasks that were done or cancelled are removed, and their ids free again, never without it;
    routes: name of the actor that remembers the agents' routes; routed: of how many of them; routing: limits
    of the routes."""

    tasks: str | None = None
    dispatchers: int = Field(1, ge=0, le=1000)
    attempts: int = Field(5, ge=1, le=1000)
    forget: float | None = Field(None, ge=0.0)
    routes: str = Field(ROUTES_ACTOR, min_length=1)
    routed: int = Field(AGENTS_ROUTED, ge=1)
    routing: RoutingParameters = Field(default_factory=RoutingParameters)


class Pipeline:
    """The service in one process, stateless: agents, their routes and the tasks are in actors of their own."""

    def __init__(self, arguments: PipelineArguments) -> None:
        self.settings = ServiceSettings.read()
        self.arguments = arguments
        self.population = arguments.shared()
        self.routes = SharedRoutes(arguments.routes, arguments.routed)
        self.tasks = SharedTasks(arguments.tasks, self._staff)
        self._retries = Retries(arguments.attempts, **_PAUSES)
        self._name = f"pipeline-{secrets.token_hex(8)}"
        self._beginning: asyncio.Task[None] | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        about = "Stimuli as durable tasks, on routes that their surprise decides."
        app = application("pipeline", about, self.settings, begin=self._begin)

        @app.get("/ready", tags=["health"])
        async def is_ready() -> JSONResponse:
            """Whether agents, routes and tasks can be asked for; 503 with the reasons where not."""
            asked = (each.ready(READY_SECONDS) for each in (self.population, self.routes, self.tasks))
            return ready([reason for reasons in await asyncio.gather(*asked) for reason in reasons])

        @app.get("/status", tags=["health"])
        async def status() -> dict[str, Any]:
            """Limits of the routes, tasks by route and state, where they are, and the limits in force."""
            return await self._status()

        self._add_submission(app)
        self._add_views(app)
        return app

    def _add_submission(self, app: FastAPI) -> None:
        documented: Any = {"responses": UNAUTHORIZED | WAITING | OTHER, "response_model": PipelineTask}

        @app.post("/tasks", dependencies=CHANGES, **documented)
        @takes(task=new_task_of(self.population.model))
        async def submit(request: Request, task: NewTask) -> JSONResponse:
            """Take a task on: 200 with what has come of it where that is known, as for little surprise; 202 where it is
            yet to be done. The same id again is the same task."""
            found = await self._submitted(task)
            if found["state"] == "failed" and str(found["error"]).startswith(f"{Late.__name__}: "):
                raise Refused(409, str(found["error"]).removeprefix(f"{Late.__name__}: "))
            if found["state"] in _FINAL:
                return JSONResponse(found)
            place = f"{request.scope.get('root_path', '')}/tasks/{quote(task.id, safe='')}"
            return JSONResponse(found, 202, headers={"Location": place})

    def _add_views(self, app: FastAPI) -> None:
        @app.get("/tasks", response_model=PipelineTasks)
        async def tasks(
            state: Progress | None = None,
            route: Route | None = None,
            limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        ) -> JSONResponse:
            """Tasks of a state and a route, or of all, the newest first."""
            found = await self.tasks.ask(lambda store: _listed(store, state, route, limit))
            return JSONResponse({"tasks": [progressing(task) for task in found]})

        @app.get("/tasks/{id:path}", response_model=PipelineTask, responses=UNKNOWN)
        async def task(id: TaskId) -> JSONResponse:
            """One task, and what has come of it."""
            return JSONResponse(pipeline_task(*await self._known(id)))

        @app.delete(
            "/tasks/{id:path}",
            dependencies=CHANGES,
            responses=UNAUTHORIZED | UNKNOWN | ENDED,
            response_model=PipelineTask,
        )
        async def cancel(id: TaskId) -> JSONResponse:
            """Cancel a task that is not done. A cycle that is under way ends, and nobody hears of it. Again, it changes
            nothing."""
            nodes, _ = await self._known(id)
            await self.tasks.ask(lambda store: store.cancel([node.id for node in nodes if _goes_on(nodes)]))
            found = pipeline_task(*await self._known(id))
            if found["state"] != "cancelled":
                raise Refused(409, f"task {id!r} is {found['state']} already")
            return JSONResponse(found)

    async def _begin(self) -> None:
        self._beginning = asyncio.create_task(self._prepare())

    async def _prepare(self) -> None:
        # That nobody need wait for them later. Where it cannot be now, it is said to who asks.
        with suppress(Refused, RayError):
            await self.population.actor()
        with suppress(Refused, RayError, TaskStoreError):
            await self.tasks.ask(lambda store: None)

    def _staff(self, place: str | None) -> None:
        if self.arguments.dispatchers:
            dispatchers(place, self.arguments.dispatchers, HANDLERS)
            reaper(place, forget=self.arguments.forget)

    async def _known(self, task: str) -> tuple[list[Task], dict[str, Any]]:
        """The nodes of a task and their results. Raises Refused (404)."""
        found = await self.tasks.ask(lambda store: _looked_up(store, graph_of(task)))
        if not found[0]:
            raise Refused(404, f"there is no task {task!r}; POST it to /pipeline/tasks")
        return found

    async def _submitted(self, task: NewTask) -> dict[str, Any]:
        """A task that was taken on now or before, as far as it can be done at once. Raises Refused."""
        end = time.monotonic() + _AT_ONCE * self.settings.timeout
        graph = graph_of(task.id)
        nodes, results = await self.tasks.ask(lambda store: _looked_up(store, graph))
        if not nodes:
            await self._enqueue(task, graph)
            nodes, results = await self._known(task.id)
        first = cycle_of(nodes)
        if first.payload["content"] != task.fingerprint():
            raise Refused(409, f"the id {task.id!r} is that of another task; write an id of its own for each")
        if first.payload["route"] == "fast" and _goes_on(nodes):
            await self._do_at_once(first.id, end)
            nodes, results = await self._known(task.id)
        return pipeline_task(nodes, results)

    async def _enqueue(self, task: NewTask, graph: str) -> None:
        stimulus = task.record()
        told = {"id": task.id, "priority": task.priority, "content": task.fingerprint()}
        chunk = chunk_of(self.population.model, stimulus)
        try:
            surprise, _ = await advice(self.population, chunk)
        except Late as late:
            raise Refused(409, str(late)) from None
        # Of two contents under one id, one will be refused, and must not have decided for the other.
        request = hashlib.blake2b(f"{graph} {told['content']}".encode(), digest_size=16).hexdigest()
        decided = await self.routes.decide(chunk.names[0], surprise, self.arguments.routing, request)
        agents = self.arguments
        content = payload(agents.model, agents.actor, agents.precision, stimulus, agents.routing, **told, **decided)
        nodes = nodes_of(decided["route"], content, task.priority, self._retries)

        def enqueue(store: TaskStore) -> None:
            try:
                enqueue_graph(store, graph, nodes)
            except TaskError as error:
                # Another replica has been quicker, and found another route.
                if not store.find(graph=graph, limit=1):
                    raise Refused(422, str(error)) from None

        await self.tasks.ask(enqueue)

    async def _do_at_once(self, task: str, end: float) -> None:
        """One cycle for a task of the store, until a moment of the monotonic clock; else the dispatchers go on."""
        # One incarnation for each request: two for the same task must not both have it.
        owner, lease = Owner(self._name, secrets.token_hex(8)), self.settings.timeout + _LEASE
        claim = await self.tasks.ask(lambda store: store.take(task, owner, lease))
        if claim is None:
            await self._wait_for(task, end)
            return
        try:
            async with asyncio.timeout(max(0.0, end - time.monotonic())):
                result = await cycle(self.population, claim.payload["stimulus"], claim.id)
        except (TimeoutError, RayActorError, Refused):
            await self.tasks.ask(lambda store: store.release([claim]))
        except (TaskHopeless, InputError) as error:
            await self._failed(claim, error, hopeless=True)
        except RayTaskError as error:
            why = failure(error)
            await self._failed(claim, why, hopeless=isinstance(why, TaskHopeless))
        else:
            await self.tasks.ask(lambda store: store.complete([(claim, result)]))

    async def _failed(self, claim: Claim, error: Exception, *, hopeless: bool) -> None:
        said = f"{type(error).__name__}: {error}"
        await self.tasks.ask(lambda store: store.fail([(claim, said)], hopeless=hopeless))

    async def _wait_for(self, task: str, end: float) -> None:
        """Wait until a task that somebody else has is done."""
        while time.monotonic() < end:
            found = await self.tasks.ask(lambda store: store.get(task))
            if found is None or PROGRESS[found.state] in _FINAL:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _status(self) -> dict[str, Any]:
        counts: dict[str, dict[str, int]] | None = None
        with suppress(TimeoutError, Refused, TaskStoreError, ValueError):
            counts = await asyncio.wait_for(self.tasks.ask(_counted), READY_SECONDS)
        return {
            "service": "pipeline",
            "model": self.population.model.name,
            "actor": self.population.name,
            "routes": self.routes.name,
            "agents_routed": self.routes.agents,
            "routing": asdict(self.arguments.routing),
            "tasks": counts,
            "place": self.tasks.where,
            "durable": self.tasks.durable,
            "attempts": self.arguments.attempts,
            "dispatchers": self.arguments.dispatchers,
            "timeout": self.settings.timeout,
            "in_flight": self.settings.in_flight,
            "authenticated": self.settings.token is not None,
        }


def _goes_on(nodes: list[Task]) -> bool:
    """Whether the cycle may still be done."""
    return PROGRESS[cycle_of(nodes).state] not in _FINAL


def _looked_up(store: TaskStore, graph: str) -> tuple[list[Task], dict[str, Any]]:
    # In this order: what is done in the first answer has its result in the second.
    nodes = store.find(graph=graph)
    done = {str(node.node) for node in nodes if node.state == "done"}
    results = store.results_of(graph) if done else {}
    return nodes, {name: result for name, result in results.items() if name in done}


def _listed(store: TaskStore, state: Progress | None, route: Route | None, limit: int) -> list[Task]:
    kinds = [CYCLES[name] for name in CYCLES if route in (None, name)]
    states = [None] if state is None else [known for known, told in PROGRESS.items() if told == state]
    found = [task for kind in kinds for known in states for task in store.find(known, kind, limit=limit, newest=True)]
    return sorted(found, key=lambda task: (-task.created, task.id))[:limit]


def _counted(store: TaskStore) -> dict[str, dict[str, int]]:
    counts = {route: dict.fromkeys(get_args(Progress), 0) for route in CYCLES}
    for route, kind in CYCLES.items():
        for state, number in store.counts(kind).items():
            counts[route][PROGRESS[state]] += number
    return counts


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, as a Serve configuration names it: ``cognitive_actors.serve.pipeline:build``.

    arguments: as :class:`PipelineArguments` has them. Raises ValueError for others.
    """
    return deployed(Pipeline, PipelineArguments.model_validate(arguments))
