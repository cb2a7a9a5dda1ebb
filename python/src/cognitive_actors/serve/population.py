"""The named actor that owns the agents' state, as replicas ask it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from typing import Any

from ray.exceptions import ActorDiedError

from ..actors.pieces import in_pieces
from ..actors.population import PopulationActor
from ..core.cycle import CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk
from ..files.jsonl import RecordParser
from ..files.models import load_model
from ..pipeline.examples import example_model
from ..pipeline.outcomes import outcome_record
from .lifecycle import NOT_INITIALISED, STOPPING, Lifecycle
from .named import durability_of, existing, reasons_of, shared_options
from .refused import Refused, away

#: The actor that owns the agents, unless given.
AGENTS = "cognitive"
#: Seconds that the actor is given to say that it is there; to end, before it is said that it is still at it.
READY_SECONDS, END_SECONDS = 2.0, 4.0
_POLL_SECONDS = 0.02


def shared_population(
    model: str | None = None, actor: str = AGENTS, precision: float = CycleSettings.precision, *, makes: bool = True
) -> SharedPopulation:
    """The agents that services share.

    model: path of a generative model, the umbrella example without one; actor: name of the actor that owns the agents;
    precision: of policies, at baseline; makes: as of SharedPopulation. Raises ModelError for a file that is no model,
    ValueError for a precision out of its range.
    """
    return SharedPopulation(
        actor, load_model(model or example_model()), CycleSettings(precision=precision), makes=makes
    )


class SharedPopulation:
    """Agents in a named, detached actor, which all replicas share and which outlives them.

    It is made by whoever needs it first, unless it has been stopped (see ``lifecycle``); where not ``makes``, only by
    ``make``. Where the machines are told of a store for checkpoints, it saves each change before it answers; elsewhere
    its agents begin at rest when it is started again.
    """

    def __init__(self, name: str, model: GenerativeModel, settings: CycleSettings, *, makes: bool = True) -> None:
        self.name, self.model, self.settings = name, model, settings
        self.lifecycle = Lifecycle(name)
        self._parser = RecordParser(model)
        self._pieces = in_pieces(model)
        self._makes = makes
        self._actor: Any = None

    async def actor(self) -> Any:
        """The actor. Raises Refused (503) where it has been stopped, and where there is none to be made."""
        if self._actor is None:
            await self.lifecycle.check()
            found = await existing(self.name)
            if found is None and not self._makes:
                raise self.lifecycle.gone()
            self._actor = await self.make() if found is None else found
        return self._actor

    async def make(self) -> Any:
        """The actor, made where there is none. Raises Refused (503) where it is stopped meanwhile."""
        made = PopulationActor.options(**shared_options(self.name)).remote(  # type: ignore[attr-defined]
            None, self.settings, None, "cpu", self.durability, *self._pieces
        )
        if await self.lifecycle.stopped():
            # Who stopped it has not seen this one.
            made.end.remote()
            raise self.lifecycle.gone()
        return made

    async def phase(self, seconds: float = READY_SECONDS) -> tuple[str, str]:
        """Where the agents are in their life, and why they cannot be asked: "not initialised", "starting", "ready" or
        "stopping". seconds: that the actor is given to answer."""
        absent = await self.absence()
        if absent is not None:
            return absent
        reasons = await self.ready(seconds)
        return ("starting", f"the agents are starting: {reasons[0]}") if reasons else ("ready", "")

    async def begin(self) -> None:
        """Make the actor where there is none, also after it has been stopped. It may still be starting then.

        Raises Refused (503) where one that has been stopped is still at its end: try again.
        """
        before = await existing(self.name)
        if await self.lifecycle.stopped():
            # What is under way ends first: the new agents go on from what it saves. Others that were begun meanwhile
            # are not those that were stopped.
            if before is not None and await self._end(before) != "not initialised":
                raise away(STOPPING)
            await self.lifecycle.set_stopped(False)
        await self.make()

    async def stop(self) -> str:
        """End the agents' actor after what is under way; nobody makes another until ``begin``. Returns the phase."""
        await self.lifecycle.set_stopped(True)
        actor = await existing(self.name)
        return "not initialised" if actor is None else await self._end(actor)

    async def _end(self, actor: Any) -> str:
        """Tell an actor to end, and wait for it a little. Returns the phase then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + END_SECONDS
        told = asyncio.wrap_future(actor.end.remote().future())
        while await existing(self.name) == actor:
            if loop.time() > end:
                return "stopping"
            done, _ = await asyncio.wait([told], timeout=_POLL_SECONDS)
            if done and not isinstance(told.exception(), ActorDiedError | None):
                # It could not save, and goes on.
                await told
            elif done:
                await asyncio.sleep(_POLL_SECONDS)
        return "not initialised"

    @property
    def durability(self) -> str | None:
        """The actor's key in the store of checkpoints, None where no store is named."""
        return durability_of(self.name)

    async def ready(self, seconds: float) -> list[str]:
        """Why the agents cannot be asked; nothing if they can."""
        try:
            return await reasons_of(self.name, self.ask("ready"), seconds)
        except Refused as refused:
            return [str(refused)]

    async def absence(self) -> tuple[str, str] | None:
        """The phase in which there are no agents to ask, and why in words; None where their actor is to answer."""
        stopped, actor = await self.lifecycle.stopped(), await existing(self.name)
        if actor is None:
            return "not initialised", NOT_INITIALISED
        return ("stopping", STOPPING) if stopped else None

    async def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method of the actor returns. It is asked again where the actor that was known has ended: a method
        that changes something must be given a ``request``, so that one that is durable applies it once."""
        known = self._actor is not None
        actor = await self.actor()
        try:
            return await asyncio.wrap_future(getattr(actor, method).remote(*arguments, **options).future())
        except ActorDiedError:
            # For good: it was shut down, or somebody has killed it.
            self._actor = None
            await self.lifecycle.check()
            if not known:
                raise
        return await self.ask(method, *arguments, **options)

    async def think(
        self, records: Sequence[dict[str, Any]], *, advise: bool = False, keys: Sequence[str | None] | None = None
    ) -> list[dict[str, Any] | Refused]:
        """One cycle for each stimulus, in order; what came of it, or why it was refused.

        keys: of each stimulus, under which it is lived once and answered as then where it comes again.
        """
        lines = [json.dumps(record).encode() for record in records]
        raw = self._parser.parse(list(range(len(lines))), lines)
        batch = self._parser.fields.assemble(raw, "request", "request", 0)
        answers: list[dict[str, Any] | Refused | None] = [None] * len(records)
        for reject in batch.rejects:
            answers[reject.line] = Refused(422, reject.reason)
        if len(batch):
            chunk = Chunk(batch.agents, batch.time, batch.observations, batch.delta)
            places = batch.lines.tolist()
            names = [None if keys is None else keys[line] for line in places]
            columns, refused = await self._ask(chunk, names, advise)
            for row, line in enumerate(places):
                if row in refused:
                    answers[line] = Refused(409, refused[row])
                elif columns["late"][row]:
                    answers[line] = Refused(
                        409, f"time runs backwards for agent {chunk.names[row]!r}; send each agent's stimuli by time"
                    )
                else:
                    answers[line] = {"id": records[line].get("id"), **outcome_record(self.model, chunk, columns, row)}
        return [answer for answer in answers if answer is not None]

    async def _ask(self, chunk: Chunk, names: Sequence[str | None], advise: bool) -> tuple[Any, dict[int, str]]:
        if advise:
            return await self.ask("advise", chunk), {}
        request = secrets.token_hex(16)
        if any(names):
            columns, refused = await self.ask("process_each", chunk, names, request=request)
            return columns, refused
        return await self.ask("process", chunk, request=request), {}
