"""``bootstrap``: bring what must live to the connected cluster, try it, and say what was done.

It may be called at any time, also twice at once, and where an earlier call was cut short: each step is one that another
may have taken before, and none depends on who took it. That needs no lock, which would have to be waited for after a
call that was killed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from ..cluster.settings import default_namespace
from ..core.cycle import CycleSettings
from ..core.routing import RoutingParameters
from ..dispatch import LedgerStore, TaskStore, TaskStoreError, TasksUnavailable, probe
from ..dispatch.ledger import LEDGER
from ..serve import effort
from ..serve.dispatchers import DISPATCHER, REAPER
from ..serve.named import STATE, SharedState
from ..serve.population import AGENTS, SharedPopulation, shared_population
from ..serve.refused import Refused
from ..serve.routes import ROUTES_ACTOR, SharedRoutes
from ..serve.streams import STREAMS, SharedStreams
from ..serve.tasks import opened, place_of_tasks
from . import crew, organism, trial
from .modes import Mode
from .reconcile import Step
from .waiting import NotUp, Watch, reason


@dataclass(frozen=True)
class Names:
    """What the actors are called: as the services look for them, unless given. dispatcher: before the number."""

    dispatcher: str = DISPATCHER
    reaper: str = REAPER
    ledger: str = LEDGER
    state: str = STATE
    streams: str = STREAMS
    routes: str = ROUTES_ACTOR


@dataclass(frozen=True)
class Request:
    """What is to live.

    tasks: their place, as :func:`cognitive_actors.serve.tasks.opened` takes it; dispatchers: how many; forget: seconds
    after which tasks that were done or cancelled are removed, None to leave that as it is, or else never;
    model, precision, actor: as of :func:`cognitive_actors.serve.population.shared_population`; timeout: seconds that
    each wait may last: for what lives to answer, for what is to go to stop, for what is started to come up, for the
    task. Raises ValueError for a number out of its range.
    """

    mode: Mode = Mode.all
    tasks: str | None = None
    dispatchers: int = 2
    forget: float | None = None
    model: str | None = None
    precision: float = CycleSettings.precision
    actor: str = AGENTS
    timeout: float = 60.0
    names: Names = field(default_factory=Names)

    def __post_init__(self) -> None:
        if self.dispatchers < 1:
            raise ValueError(f"dispatchers is {self.dispatchers}; write 1 or more")
        if self.forget is not None and not self.forget >= 0:
            raise ValueError(f"forget is {self.forget}; write seconds, 0 or more")
        if not 0 < self.timeout < float("inf"):
            raise ValueError(f"timeout is {self.timeout} s; write a finite number, more than 0")


def bootstrap(request: Request, watch: Watch) -> dict[str, Any]:
    """Bring what must live to the cluster that this process is connected to.

    Returns ``mode``, ``namespace``, ``address``, ``reconciled``: kind, name, action and why of each actor, and
    ``task`` as :func:`cognitive_actors.bootstrap.trial.tried` has it. watch: called while something is waited for; it
    may raise. Raises NotUp, with what has been done in its ``report``, where something does not come up or the task
    does not succeed; ValueError for a model or a place of tasks that is none, and for tasks that are damaged.
    """
    report = {
        "mode": request.mode.value,
        "namespace": default_namespace(),
        "address": ray.get_runtime_context().gcs_address,
    }
    done: list[Step] = []
    # What is wrong with the request is said before anything is changed.
    population = None if request.mode == Mode.dispatchers else _population(request)
    try:
        if request.mode != Mode.organism:
            place_of_tasks(request.tasks)
        task = _brought(request, population, watch, done)
    except NotUp as error:
        error.report = {**report, "reconciled": _said(done)}
        raise
    return {**report, "reconciled": _said(done), "task": task}


def _brought(request: Request, population: SharedPopulation | None, watch: Watch, done: list[Step]) -> dict[str, Any]:
    try:
        if population is not None:
            names = request.names
            shared = SharedState(names.state), SharedStreams(names.streams), SharedRoutes(names.routes)
            residents = organism.Residents(population, dict(zip(("state", "streams", "routes"), shared, strict=True)))
            asyncio.run(organism.reconciled(residents, request.timeout, watch, done))
        if request.mode == Mode.organism:
            assert population is not None
            return asyncio.run(_advised(population, request.timeout))
        store, place = opened(request.tasks, request.names.ledger)
        try:
            crew.reconciled(_crew(request, store, place), request.timeout, watch, done)
            return _tried(request, population, store, watch)
        finally:
            store.close()
    except TasksUnavailable as error:
        raise NotUp(f"the tasks cannot be reached: {error}") from None
    except TaskStoreError as error:
        raise ValueError(str(error)) from None


def _population(request: Request) -> SharedPopulation:
    return shared_population(request.model, request.actor, request.precision)


def _crew(request: Request, store: TaskStore, place: str | None) -> crew.Crew:
    # A path would not do: an actor looks for its ledger in the namespace of whoever made it.
    given = store if isinstance(store, LedgerStore) else place
    names = request.names
    return crew.Crew(store, given, effort.HANDLERS, request.dispatchers, names.dispatcher, names.reaper, request.forget)


def _tried(request: Request, population: SharedPopulation | None, store: TaskStore, watch: Watch) -> dict[str, Any]:
    if population is None:
        return trial.tried(store, probe.KIND, None, request.timeout, watch)
    payload = effort.payload(
        request.model, request.actor, request.precision, trial.stimulus(population.model), RoutingParameters()
    )
    return trial.tried(store, effort.FORESEE, payload, request.timeout, watch)


async def _advised(population: SharedPopulation, seconds: float) -> dict[str, Any]:
    began = time.monotonic()
    thought = population.think([trial.stimulus(population.model)], advise=True)
    try:
        (answer,) = await asyncio.wait_for(thought, seconds)
        if isinstance(answer, Refused):
            raise answer
    except (TimeoutError, Refused, RayError) as error:
        said = f"no answer within {seconds:g} s" if isinstance(error, TimeoutError) else reason(error)
        raise NotUp(
            f"the agents' actor {population.name!r} gives no advice: {said}; see its log in the dashboard"
        ) from None
    taken = round(time.monotonic() - began, 3)
    return {"id": None, "kind": "advice", "seconds": taken, "by": population.name, "result": answer}


def _said(done: list[Step]) -> list[Mapping[str, Any]]:
    return [{key: value for key, value in asdict(step).items() if value} for step in done]
