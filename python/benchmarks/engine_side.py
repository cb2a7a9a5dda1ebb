"""Planning with this package: G of every policy and the posterior over policies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cognitive_actors.core.expected_free_energy import Planner
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.selection import policy_posterior

from .models import GAMMA, PlanningModel


@dataclass(frozen=True)
class Engine:
    """A planner and the beliefs it is called with."""

    planner: Planner
    habits: Tensor
    beliefs: tuple[Tensor, ...]

    def call(self) -> tuple[Tensor, Tensor]:
        G = self.planner.expected_free_energy(self.beliefs)
        return G, policy_posterior(G, GAMMA, self.habits)

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        G, posterior = self.call()
        return G.numpy(), posterior.numpy()


def engine(model: PlanningModel, beliefs: tuple[np.ndarray, ...], *, own: bool, dtype: torch.dtype) -> Engine:
    """``own``: every agent has a model of its own in memory, as in pymdp's Agent; otherwise all share one."""
    generative = GenerativeModel.from_arrays(
        model.A,
        model.B,
        model.C,
        E=model.habits,
        dependencies=model.dependencies,
        horizon=model.horizon,
        dtype=dtype,
    )
    if own:
        generative = one_model_each(generative, len(beliefs[0]))
    return Engine(Planner(generative), generative.E, tuple(torch.as_tensor(q, dtype=dtype) for q in beliefs))


def one_model_each(model: GenerativeModel, agents: int) -> GenerativeModel:
    """A, B and C copied for each agent."""

    def copies(xs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(x.expand(agents, *x.shape[1:]).contiguous() for x in xs)

    return replace(model, A=copies(model.A), B=copies(model.B), C=copies(model.C))
