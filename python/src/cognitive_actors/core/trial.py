"""Closing the loop: agents and the environment they act in, one trial at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .cycle import CognitiveCycle, CycleSettings, Population
from .environments import environment
from .modulator_parameters import MODULATORS


class Simulation:
    """A batch of agents with their own copies of an environment, over as many trials as are asked for.

    agents: int64 (N,) their own numbers, which decide every random draw together with ``settings.seed``. settings: how
    they think; :func:`learning_settings` makes them learn what there is to learn.
    """

    def __init__(self, name: str, options: Mapping[str, Any], agents: Tensor, settings: CycleSettings) -> None:
        self.environment = environment(name, **options)
        self.cycle = CognitiveCycle(self.environment.model(), settings)
        self.population: Population = self.cycle.initial(agents)
        self.clock: Tensor = torch.zeros_like(agents)

    @torch.inference_mode()
    def trial(self) -> dict[str, np.ndarray]:
        """One trial of every agent; each column (N,).

        reward: the sum over the trial; free_energy: its mean; success and the environment's own measures, NaN where
        undefined; the five modulators at the end.
        """
        cycle, env = self.cycle, self.environment
        population = cycle.begin_trial(self.population)
        state, observations = env.reset(population.agents, cycle.settings.seed, self.clock)
        reward = torch.zeros(len(population.agents), dtype=torch.float64)
        free_energy = torch.zeros_like(reward)
        for _ in range(env.moves):
            population, outcome = cycle.step(population, observations)
            free_energy += outcome.free_energy.double().cpu()
            state, observations = env.step(state, outcome.action)
            reward += env.reward(state).cpu()
        # What the last action brought is still to be learned from and felt.
        population, outcome = cycle.step(population, observations)
        self.population, self.clock = population, state.step + 1
        success = env.success(state)
        columns = {
            "reward": reward,
            "success": torch.full_like(reward, torch.nan) if success is None else success.double(),
            "free_energy": (free_energy + outcome.free_energy.double().cpu()) / (env.moves + 1),
            **env.measures(state),
        }
        columns.update(zip(MODULATORS, outcome.levels.unbind(dim=1), strict=True))
        return {name: x.numpy(force=True) for name, x in columns.items()}


def learning_settings(name: str, options: Mapping[str, Any], settings: CycleSettings) -> CycleSettings:
    """The settings with learning switched on for whatever the environment's model has Dirichlet counts of.

    Agents that learn A or B are drawn to what they can learn: G then contains their parameter information gain.
    """
    model = environment(name, **options).model()
    return replace(
        settings,
        learn_A=model.pA is not None,
        learn_B=model.pB is not None,
        learn_D=model.pD is not None,
        parameter_information_gain=model.pA is not None or model.pB is not None,
    )
