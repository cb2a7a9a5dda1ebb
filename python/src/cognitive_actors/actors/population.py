"""A population of agents in one process: the whole cognitive cycle, thousands of agents at a time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import ray

from ..core.cycle import CognitiveCycle, CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk, Roster
from ..core.views import agent_view, summary
from ..files.store import StaleWriter
from .durability import Continuity, Durability
from .kept_agents import KeptAgents
from .named_stimuli import NamedStimuli
from .pieces import joined
from .process import prepare_process


@ray.remote(num_cpus=1, max_restarts=0)
class PopulationActor:
    """A shell around :class:`cognitive_actors.core.roster.Roster`.

    Without ``durability`` it is not to be restarted by Ray: a restart would lose the agents' state without a word, and
    whoever owns it starts a new one from the last ``snapshot``. durability: as in NeurotransmitterActor. Saved before
    it answers are neuromodulators, workspace, beliefs, learned counts and the steps that random draws are counted by;
    what was saved goes before ``snapshot``. A checkpoint of another model or of other settings is refused. pieces: of
    the model, where that is None, for an actor that outlives whoever made it; see ``actors.pieces``.
    """

    def __init__(
        self,
        model: GenerativeModel | None,
        settings: CycleSettings,
        snapshot: Mapping[str, np.ndarray] | None = None,
        device: str = "cpu",
        durability: Durability | str | None = None,
        *pieces: bytes,
    ) -> None:
        prepare_process()
        model = joined(pieces) if model is None else model
        self.roster = Roster(CognitiveCycle(model.to(device=device), settings))
        if snapshot is not None:
            self.roster.restore(snapshot)
        # What the chunk under way, if it is one that may have to be undone, found.
        self._kept: KeptAgents | None = None
        self._free_energy: float | None = None
        self._continuity = Continuity(durability, actor="population", model=model, settings=settings)
        self._continuity.begin(self)

    def process(self, chunk: Chunk, *, request: str | None = None) -> dict[str, np.ndarray]:
        """One row of results per stimulus; see :meth:`Roster.process`.

        request: names the chunk; one that comes again under its name, or, for an actor that is durable, that Ray sends
        again, is not applied again and gets the answer of the first. Raises LookupError where that answer found no room
        (``Durability.room``) beside those since.
        """
        return self._lived(chunk, request)

    def process_each(
        self, chunk: Chunk, names: Sequence[str | None], *, request: str
    ) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """As ``process``, where stimuli have names of their own: one that was lived under its name is not lived again.

        names: (n,), None for one without, of 1 to 200 characters. Returns the columns, and the positions that were
        refused with the reason: the name was another stimulus', or the answer is no longer kept.
        """
        self._continuity.settle(self)
        stimuli = NamedStimuli.of(chunk, names, request, self._continuity.answers)
        lived = self._lived(stimuli.rest(), request, stimuli.parts) if stimuli.fresh else {}
        return stimuli.whole(lived), stimuli.refused

    def process_and_snapshot(self, chunk: Chunk) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """As ``process``, with the state of all agents after the chunk. Call with ``num_returns=2``.

        Raises ValueError for an actor that is durable: sent again, the chunk would come with a later state.
        """
        if self._continuity.durability is not None:
            raise ValueError("this actor is durable, and saves its state itself; call process, and snapshot to look")
        return self.roster.process(chunk), self.roster.snapshot()

    def advise(self, chunk: Chunk) -> dict[str, np.ndarray]:
        """What ``process`` would return. Nothing changes: no agent joins, none moves on."""
        before = KeptAgents.of(self.roster, chunk.names)
        try:
            return self.roster.process(chunk)
        finally:
            before.put_back(self.roster)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Names and state of all agents."""
        return self.roster.snapshot()

    def save(self) -> int | None:
        """Save the state now. Returns its generation in the store, None without durability."""
        return self._continuity.save(self)

    def ready(self) -> dict[str, Any]:
        """Answers once the actor can work."""
        return {"agents": len(self.roster), "device": str(self.roster.cycle.model.device), "pid": os.getpid()}

    def agents(self, offset: int = 0, limit: int = 100) -> dict[str, Any]:
        """``agents``, names in the order in which they joined, and ``total``, how many there are."""
        names = list(itertools.islice(self.roster.rows, offset, offset + limit))
        return {"agents": names, "total": len(self.roster)}

    def agent(self, name: str) -> dict[str, Any] | None:
        """One agent as :func:`cognitive_actors.core.views.agent_view` has it, None for one that is not there."""
        return agent_view(self.roster, name) if name in self.roster.rows else None

    def overview(self) -> dict[str, Any]:
        """All agents as :func:`cognitive_actors.core.views.summary` has them, and ``free_energy``: the mean in nats
        over the stimuli of the last chunk that this process was given; None before the first."""
        return {**summary(self.roster), "free_energy": self._free_energy}

    def end(self) -> None:
        """Save, and end this process for good, after all calls that came before. Never returns: raises ActorDiedError
        at the caller. Not ended is an actor that is durable and cannot save."""
        # Another one goes on from what was saved.
        with suppress(StaleWriter):
            self._continuity.save(self)
        ray.actor.exit_actor()

    def _felt(self, chunk: Chunk, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        on_time = ~columns["late"]
        if on_time.any():
            self._free_energy = float(columns["free_energy"][on_time].mean())
        return columns

    def _lived(
        self, chunk: Chunk, request: str | None, parts: Callable[[str], Mapping[str, str]] | None = None
    ) -> dict[str, np.ndarray]:
        def change() -> dict[str, np.ndarray]:
            if self._continuity.durability is not None:
                self._kept = KeptAgents.of(self.roster, chunk.names)
            return self.roster.process(chunk)

        try:
            return self._felt(chunk, self._continuity.once(self, request, change, parts))
        finally:
            self._kept = None

    def _snapshot(self) -> dict[str, np.ndarray]:
        return self.roster.snapshot()

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.roster.restore(arrays)

    def _memory(self) -> None:
        # Only a chunk's own agents are kept, when it comes: a copy of all would cost more than the chunk.
        self._kept = None

    def _recall(self, memory: Any) -> None:
        if self._kept is not None:
            self._kept.put_back(self.roster)
