"""The neuromodulators of many agents in one process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import ray
import torch

from ..core.modulator_parameters import MODULATORS, ModulatorParameters, parameter_set
from ..core.neuromodulators import ModulatorState, Neuromodulators, impulse_vector
from .durability import Continuity, Durability, acknowledged
from .process import prepare_process


@ray.remote(num_cpus=0, max_restarts=0)
class NeurotransmitterActor:
    """Levels of dopamine, serotonin, oxytocin, cortisol and norepinephrine, with their opponent processes.

    agents: how many agents it holds, numbered from 0; parameters: a named set ("opponent-process", "guide") or a
    ModulatorParameters. Time passes only when told: give ``seconds``, or call ``advance``. Every agent has its own
    clock. Methods that raise have changed nothing. durability: where its state is saved before it answers, so that one
    that is started again, by Ray (``.options(max_restarts=-1, max_task_retries=-1)``) or anew, continues from there: a
    Durability, or a key in the store that COGNITIVE_CHECKPOINTS names on its node. request: names a change; one that
    comes again under the same name gets the answer of the first, and is not applied.
    """

    def __init__(
        self,
        agents: int = 1,
        parameters: str | ModulatorParameters = "opponent-process",
        durability: Durability | str | None = None,
    ) -> None:
        prepare_process()
        if agents < 1:
            raise ValueError(f"agents is {agents}; write 1 or more")
        chosen = parameter_set(parameters) if isinstance(parameters, str) else parameters
        self.modulators = Neuromodulators(chosen)
        self.state = self.modulators.initial(agents)
        self._continuity = Continuity(durability, actor="neurotransmitters", agents=agents, parameters=chosen)
        self._continuity.begin(self)

    @acknowledged
    def apply_delta(
        self, delta: Mapping[str, float], agent: int = 0, seconds: float = 0.0, *, request: str | None = None
    ) -> dict[str, float]:
        """Let ``seconds`` pass for one agent, add an impulse to its modulators and return its state.

        Raises ModulatorError for an unknown modulator, a number that is not finite or time that runs backwards.
        """
        impulse = impulse_vector(delta)
        here = torch.arange(len(self.state.time)) == self._checked(agent)
        state = self.state
        if seconds:
            state = self.modulators.advance(state, torch.where(here, torch.tensor(seconds, dtype=torch.float64), 0.0))
        self.state = self.modulators.impulse(state, impulse, where=here)
        return self.get_state(agent)

    @acknowledged
    def apply_deltas(self, deltas: np.ndarray, seconds: float = 0.0, *, request: str | None = None) -> np.ndarray:
        """As ``apply_delta`` for all agents at once: deltas (agents, 5) -> levels (agents, 5)."""
        state = self.modulators.advance(self.state, seconds) if seconds else self.state
        self.state = self.modulators.impulse(state, torch.tensor(deltas, dtype=torch.float64))
        return self.get_levels()

    @acknowledged
    def advance(self, seconds: float, *, request: str | None = None) -> None:
        """Let time pass for all agents. Raises ModulatorError for a step that is negative or not finite."""
        self.state = self.modulators.advance(self.state, seconds)

    def get_state(self, agent: int = 0) -> dict[str, float]:
        """The levels of one agent by name, each in [0, 1]."""
        levels = self.modulators.levels(self.state)[self._checked(agent)]
        return dict(zip(MODULATORS, levels.tolist(), strict=True))

    def get_levels(self) -> np.ndarray:
        """The levels of all agents, (agents, 5), in the order of MODULATORS."""
        return self.modulators.levels(self.state).numpy(force=True)

    def get_baseline(self) -> dict[str, float]:
        """The resting levels by name."""
        return dict(zip(MODULATORS, self.modulators.parameters.baseline, strict=True))

    def save(self) -> int | None:
        """Save the state now. Returns its generation in the store, None without durability."""
        return self._continuity.save(self)

    def _snapshot(self) -> dict[str, np.ndarray]:
        return self.modulators.to_arrays(self.state)

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.state = self.modulators.from_arrays(arrays)

    def _memory(self) -> ModulatorState:
        return self.state

    def _recall(self, memory: Any) -> None:
        self.state = memory

    def _checked(self, agent: int) -> int:
        agents = len(self.state.time)
        if not 0 <= agent < agents:
            raise ValueError(f"there is no agent {agent}; write a number between 0 and {agents - 1}")
        return agent
