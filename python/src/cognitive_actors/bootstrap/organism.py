"""The actors that the services share: the agents, whether they are to be there, shared state, streams and routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ray.exceptions import RayError

from ..serve.named import SharedActor, existing
from ..serve.population import SharedPopulation
from ..serve.refused import Refused
from .reconcile import Living, Step, Wanted, steps
from .waiting import POLL_SECONDS, NotUp, Watch, never_starts, reason

AGENTS, LIFECYCLE = "agents", "lifecycle"


@dataclass(frozen=True)
class Residents:
    """population: the agents; others: what the services share beside them, by kind."""

    population: SharedPopulation
    others: Mapping[str, SharedActor]

    def actors(self) -> dict[str, SharedActor]:
        """All but the agents, by kind."""
        return {LIFECYCLE: self.population.lifecycle.record, **self.others}


async def reconciled(residents: Residents, seconds: float, watch: Watch, done: list[Step]) -> None:
    """Make those that are not there, and begin the agents again where they have been stopped; what became of each is
    said in ``done`` once it answers.

    What they know is theirs alone, so that none is replaced that does not answer. seconds: that each is given to do so.
    Raises NotUp for one that does not.
    """
    todo = await _todo(residents, seconds, watch)
    actors = residents.actors()

    async def agents() -> None:
        await residents.population.begin()
        await residents.population.ask("ready")

    def ready(kind: str) -> Callable[[], Awaitable[Any]]:
        return agents if kind == AGENTS else lambda: actors[kind].ask("ready")

    async def bring(step: Step) -> None:
        await _answered(step.kind, step.name, ready(step.kind), seconds, watch)
        done.append(step)

    # All of them, whatever one may raise: what is up is said.
    ends = await asyncio.gather(*(bring(step) for step in todo), return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


async def _todo(residents: Residents, seconds: float, watch: Watch) -> list[Step]:
    population = residents.population
    names = {AGENTS: population.name} | {kind: actor.name for kind, actor in residents.actors().items()}
    there = {kind: await existing(name) is not None for kind, name in names.items()}
    # To ask makes the record. That is no harm: it is wanted.
    stopped = await _answered(LIFECYCLE, names[LIFECYCLE], population.lifecycle.stopped, seconds, watch)
    living = [Living(kind, names[kind], {}, stopped and kind == AGENTS) for kind in names if there[kind]]
    found = steps([Wanted(kind, name) for kind, name in names.items()], living)
    if stopped and not there[AGENTS]:
        found[0] = replace(found[0], why="they had been stopped")
    return found


async def _answered(kind: str, name: str, attempt: Callable[[], Awaitable[Any]], seconds: float, watch: Watch) -> Any:
    """What an actor answers; it is asked until it does. Raises NotUp."""
    loop = asyncio.get_running_loop()
    end, error = loop.time() + seconds, "no answer"
    while True:
        asked = asyncio.ensure_future(attempt())
        try:
            while not asked.done() and loop.time() < end:
                watch()
                await asyncio.wait([asked], timeout=POLL_SECONDS)
            if asked.done():
                return asked.result()
        except (RayError, Refused) as failure:
            # It may have ended between two questions, or be at its end.
            error = reason(failure)
            if never_starts(failure):
                break
        finally:
            asked.cancel()
        if loop.time() >= end:
            break
        await asyncio.sleep(POLL_SECONDS)
    raise NotUp(
        f"{kind}: the actor {name!r} did not come up within {seconds:g} s: {error}; see its log in the"
        " dashboard, and `cognitive status` for the room that there is"
    )
