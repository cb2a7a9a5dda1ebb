"""The work of the routes: handlers of durable tasks, which any dispatcher calls, and what they share with replicas.

A task's payload is made by :func:`payload`. The model and the agents' actor are looked up once in each process, so that
what a task brings is in words, whoever worked on it. The cycle is applied under the task's id: where a task is tried
again, the agents' actor answers what it answered the first time.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import torch
from ray.exceptions import RayActorError, RayTaskError

from ..core.model import GenerativeModel
from ..core.roster import Chunk
from ..core.routing import Router, RoutingParameters
from ..dispatch import Claim, TaskHopeless, probe
from ..files.errors import InputError
from ..files.jsonl import RecordParser
from ..pipeline.outcomes import outcome_record
from .population import SharedPopulation, shared_population
from .refused import Refused

#: The kind of the task that has the cycle, by route.
CYCLES = {route: f"pipeline.{route}" for route in ("fast", "planned", "escalated")}
#: What an escalated task has before and after it.
FORESEE, REFLECT = "pipeline.foresee", "pipeline.reflect"
#: The handlers of all kinds, as a dispatcher takes them.
HANDLERS = {
    **dict.fromkeys(CYCLES.values(), f"{__name__}:execute"),
    FORESEE: f"{__name__}:foresee",
    REFLECT: f"{__name__}:reflect",
    # Of no route: whoever wants to know that dispatchers work asks for it.
    probe.KIND: probe.HANDLER,
}
#: Seconds that an attempt waits for agents that are away, and for their answer.
PATIENCE, ANSWER = 10.0, 60.0
_POLL_SECONDS = 0.25


class Unanswered(RuntimeError):
    """The agents did not answer, or not as they should; it may be otherwise the next time."""


class Late(TaskHopeless):
    """A stimulus that is older than the last one of its agent: it will be so each time."""


def payload(
    model: str | None, actor: str, precision: float, stimulus: Mapping[str, Any], limits: RoutingParameters, **more: Any
) -> dict[str, Any]:
    """What a task must hold. model, actor and precision: as of :func:`.population.shared_population`; stimulus: a
    record as in a JSONL file; limits: of the routes; more: what others need to know of it."""
    agents = {"model": model, "actor": actor, "precision": precision}
    return {"agents": agents, "stimulus": dict(stimulus), "limits": asdict(limits), **more}


def chunk_of(model: GenerativeModel, stimulus: Mapping[str, Any]) -> Chunk:
    """One stimulus as the agents' actor takes it. Raises InputError where it does not fit the model."""
    parser = RecordParser(model)
    raw = parser.parse([0], [json.dumps(stimulus).encode()])
    batch = parser.fields.assemble(raw, "task", "task", 0)
    for reject in batch.rejects:
        raise InputError(reject.reason)
    return Chunk(batch.agents, batch.time, batch.observations, batch.delta)


async def advice(population: SharedPopulation, chunk: Chunk) -> tuple[float, dict[str, Any]]:
    """The surprise of one stimulus in nats, and what would be done. Nothing changes. Raises Late."""
    columns = await population.ask("advise", chunk)
    _check_time(chunk, columns)
    return float(columns["surprise"][0]), outcome_record(population.model, chunk, columns, 0)


async def cycle(population: SharedPopulation, stimulus: Mapping[str, Any], request: str) -> dict[str, Any]:
    """One cycle of the stimulus' agent, applied once for each request. Raises Late, and InputError."""
    chunk = chunk_of(population.model, stimulus)
    columns = await population.ask("process", chunk, request=request)
    _check_time(chunk, columns)
    return {"id": stimulus.get("id"), **outcome_record(population.model, chunk, columns, 0)}


def execute(claim: Claim) -> dict[str, Any]:
    """One cycle of the stimulus' agent."""
    return _worked(claim, lambda agents: cycle(agents, claim.payload["stimulus"], claim.id))


def foresee(claim: Claim) -> dict[str, Any]:
    """What the cycle would come to, and ``surprise`` in nats. Nothing changes."""
    return _worked(claim, lambda agents: _foreseen(agents, claim.payload["stimulus"]))


def reflect(claim: Claim) -> dict[str, Any]:
    """What the cycle has changed: ``surprise`` in nats that the same observation would bring if it came again now, and
    its ``share`` of full surprise; ``resolved``: it would be escalated no more; ``agent``: what it is like. Nothing
    changes."""
    limits = RoutingParameters(**claim.payload["limits"])
    return _worked(claim, lambda agents: _reflected(agents, claim.payload["stimulus"], limits))


async def _foreseen(population: SharedPopulation, stimulus: Mapping[str, Any]) -> dict[str, Any]:
    surprise, record = await advice(population, chunk_of(population.model, stimulus))
    return {"surprise": nats(surprise), "id": stimulus.get("id"), **record}


async def _reflected(
    population: SharedPopulation, stimulus: Mapping[str, Any], limits: RoutingParameters
) -> dict[str, Any]:
    # Now, and as it was seen: what came with it has had its effect.
    again = {name: value for name, value in stimulus.items() if name in ("agent", "observation")}
    chunk = chunk_of(population.model, again)
    surprise, _ = await advice(population, chunk)
    share = float(Router(limits).share(torch.tensor(surprise, dtype=torch.float64)))
    agent = await population.ask("agent", chunk.names[0])
    return {"surprise": nats(surprise), "share": share, "resolved": share < limits.escalated_until, "agent": agent}


def nats(surprise: float) -> float | None:
    """Surprise as JSON can have it: None for what was impossible."""
    return surprise if math.isfinite(surprise) else None


def _check_time(chunk: Chunk, columns: Mapping[str, Any]) -> None:
    if columns["late"][0]:
        raise Late(f"time runs backwards for agent {chunk.names[0]!r}; send each agent's stimuli by time")


def _worked(claim: Claim, work: Callable[[SharedPopulation], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """What comes of the work. Agents that are away are waited for a little: they may be starting again, and an attempt
    is soon made. What is raised has no trace of their process in its text."""
    agents = _shared(json.dumps(claim.payload["agents"], sort_keys=True))
    end = time.monotonic() + PATIENCE

    async def attempt() -> dict[str, Any]:
        return await asyncio.wait_for(work(agents), ANSWER)

    while True:
        try:
            return asyncio.run(attempt())
        except InputError as error:
            # The model is another one by now.
            raise TaskHopeless(str(error)) from None
        except (RayActorError, Refused) as error:
            if time.monotonic() > end:
                why = error if isinstance(error, Refused) else f"the actor {agents.name!r} is not there at the moment"
                raise Unanswered(str(why)) from None
        except RayTaskError as error:
            raise failure(error) from None
        except TimeoutError:
            raise Unanswered(f"the actor {agents.name!r} did not answer within {ANSWER:g} s") from None
        time.sleep(_POLL_SECONDS)


def failure(error: RayTaskError) -> Exception:
    """What an error that the agents' actor has raised means to a task."""
    if isinstance(error.cause, LookupError):
        # Applied it is, and will not be again.
        return TaskHopeless(str(error.cause.args[0] if error.cause.args else error.cause))
    return Unanswered(f"{type(error.cause).__name__}: {error.cause}")


@lru_cache(maxsize=8)
def _shared(agents: str) -> SharedPopulation:
    return shared_population(**json.loads(agents))
