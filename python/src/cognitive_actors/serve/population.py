"""The named actor that owns the agents' state, as replicas ask it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError

from ..actors.durability import CHECKPOINTS
from ..actors.population import PopulationActor
from ..core.cycle import CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk
from ..files.jsonl import RecordParser
from ..pipeline.outcomes import outcome_record
from .problems import Refused


class SharedPopulation:
    """Agents in a named, detached actor, which all replicas share and which outlives them.

    It is made by whoever needs it first. Where the machines are told of a store for checkpoints, it saves each change
    before it answers; elsewhere its agents begin at rest when it is started again.
    """

    def __init__(self, name: str, model: GenerativeModel, settings: CycleSettings) -> None:
        self.name, self.model, self.settings = name, model, settings
        self._parser = RecordParser(model)
        self._actor: Any = None

    def actor(self) -> Any:
        """The actor, made where there is none."""
        if self._actor is None:
            self._actor = PopulationActor.options(  # type: ignore[attr-defined]
                name=self.name,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                max_restarts=-1,
                max_task_retries=-1,
            ).remote(self.model, self.settings, durability=self.durability)
        return self._actor

    @property
    def durability(self) -> str | None:
        """The actor's key in the store of checkpoints, None where no store is named."""
        return self.name if os.environ.get(CHECKPOINTS) else None

    async def ready(self, seconds: float) -> list[str]:
        """Why the agents cannot be asked; nothing if they can."""
        try:
            await asyncio.wait_for(asyncio.wrap_future(self.actor().ready.remote().future()), seconds)
        except (TimeoutError, ray.exceptions.RayError) as error:
            return [f"the actor {self.name!r} does not answer: {type(error).__name__}"]
        return []

    async def think(self, records: Sequence[dict[str, Any]], *, advise: bool) -> list[dict[str, Any] | Refused]:
        """One cycle for each stimulus, in order; what came of it, or why it was refused."""
        lines = [json.dumps(record).encode() for record in records]
        raw = self._parser.parse(list(range(len(lines))), lines)
        batch = self._parser.fields.assemble(raw, "request", "request", 0)
        answers: list[dict[str, Any] | Refused | None] = [None] * len(records)
        for reject in batch.rejects:
            answers[reject.line] = Refused(422, reject.reason)
        if len(batch):
            chunk = Chunk(batch.agents, batch.time, batch.observations, batch.delta)
            columns = await self._ask(chunk, advise)
            for row, line in enumerate(batch.lines.tolist()):
                if columns["late"][row]:
                    answers[line] = Refused(
                        409, f"time runs backwards for agent {chunk.names[row]!r}; send each agent's stimuli by time"
                    )
                else:
                    answers[line] = {"id": records[line].get("id"), **outcome_record(self.model, chunk, columns, row)}
        return [answer for answer in answers if answer is not None]

    async def _ask(self, chunk: Chunk, advise: bool) -> Any:
        actor = self.actor()
        try:
            return await (actor.advise if advise else actor.process).remote(chunk)
        except ActorDiedError:
            # For good: somebody has killed it. The next request makes another.
            self._actor = None
            raise
