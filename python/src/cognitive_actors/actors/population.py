"""A population of agents in one process: the whole cognitive cycle, thousands of agents at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray

from ..core.cycle import CognitiveCycle, CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk, Roster
from .process import prepare_process


@ray.remote(num_cpus=1, max_restarts=0)
class PopulationActor:
    """A shell around :class:`cognitive_actors.core.roster.Roster`.

    It is not restarted by Ray: a restart would lose the agents' state without a word. Whoever owns it starts a new
    one from the last snapshot.
    """

    def __init__(
        self,
        model: GenerativeModel,
        settings: CycleSettings,
        snapshot: Mapping[str, np.ndarray] | None = None,
        device: str = "cpu",
    ) -> None:
        prepare_process()
        self.roster = Roster(CognitiveCycle(model.to(device=device), settings))
        if snapshot is not None:
            self.roster.restore(snapshot)

    def process(self, chunk: Chunk) -> dict[str, np.ndarray]:
        """One row of results per stimulus; see :meth:`Roster.process`."""
        return self.roster.process(chunk)

    def process_and_snapshot(self, chunk: Chunk) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """As ``process``, with the state of all agents after the chunk. Call with ``num_returns=2``."""
        return self.roster.process(chunk), self.roster.snapshot()

    def snapshot(self) -> dict[str, np.ndarray]:
        """Names and state of all agents."""
        return self.roster.snapshot()

    def ready(self) -> dict[str, Any]:
        """Answers once the actor can work."""
        return {"agents": len(self.roster), "device": str(self.roster.cycle.model.device), "pid": os.getpid()}
