"""Random generative models of every shape the engine takes, for property tests, and a plain loop to compare with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from cognitive_actors.core.model import GenerativeModel

# The tensors are small: on a busy machine a second thread costs more than it brings.
torch.set_num_threads(1)

SEEDS = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Structure:
    """Everything about a model but its numbers."""

    states: tuple[int, ...]
    actions: tuple[int, ...]
    outcomes: tuple[int, ...]
    dependencies: tuple[tuple[int, ...], ...]
    horizon: int

    @property
    def policies(self) -> int:
        number: int = math.prod(self.actions) ** self.horizon
        return number


#: Two controllable factors with different numbers of actions and one without control; every way to depend on them.
MIXED = Structure((3, 2, 2), (2, 3, 1), (3, 2, 4), ((2, 0), (1,), (1, 2, 0)), 2)
#: Two controllable factors, in either order.
PAIR = Structure((2, 3), (3, 2), (3, 2), ((0, 1), (1, 0)), 2)


@st.composite
def structures(draw: st.DrawFn, max_policies: int = 64) -> Structure:
    """1 to 3 factors, some without control, and modalities that depend on some of them in any order."""
    factors = draw(st.integers(1, 3))
    dependencies = draw(st.lists(st.permutations(range(factors)), min_size=1, max_size=3))
    structure = Structure(
        states=tuple(draw(st.integers(1, 3)) for _ in range(factors)),
        actions=tuple(draw(st.integers(1, 3)) for _ in range(factors)),
        outcomes=tuple(draw(st.integers(2, 4)) for _ in dependencies),
        dependencies=tuple(tuple(d[: draw(st.integers(1, factors))]) for d in dependencies),
        horizon=draw(st.integers(1, 3)),
    )
    assume(structure.policies <= max_policies)
    return structure


def columns(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Positive probabilities that sum to one over the first axis."""
    x = rng.dirichlet(np.ones(shape[0]), size=shape[1:]) + 1e-3
    return np.moveaxis(x / x.sum(axis=-1, keepdims=True), -1, 0)


def build(
    structure: Structure,
    seed: int,
    *,
    agents: int | None = None,
    counts: bool = False,
    changing: bool = False,
    dtype: torch.dtype = torch.float64,
) -> GenerativeModel:
    """A model with random numbers, one for all or (agents) one for each. changing: preferences differ by step."""
    rng = np.random.default_rng(seed)
    n = 1 if agents is None else agents
    A = [
        np.stack([columns(rng, o, *(structure.states[f] for f in d)) for _ in range(n)])
        for o, d in zip(structure.outcomes, structure.dependencies, strict=True)
    ]
    B = [
        np.stack([columns(rng, s, s, u) for _ in range(n)])
        for s, u in zip(structure.states, structure.actions, strict=True)
    ]
    steps = structure.horizon if changing else 1
    return GenerativeModel.from_arrays(
        A,
        B,
        [rng.normal(0, 2, (n, steps, o)) for o in structure.outcomes],
        [np.stack([columns(rng, s) for _ in range(n)]) for s in structure.states],
        np.stack([columns(rng, structure.policies) for _ in range(n)]),
        dependencies=structure.dependencies,
        horizon=structure.horizon,
        pA=[rng.gamma(1.0, 2.0, a.shape) + 0.1 for a in A] if counts else None,
        pB=[rng.gamma(1.0, 2.0, b.shape) + 0.1 for b in B] if counts else None,
        pD=[rng.gamma(1.0, 2.0, (n, s)) + 0.1 for s in structure.states] if counts else None,
        batched=True,
        dtype=dtype,
    )


def random_beliefs(model: GenerativeModel, agents: int, seed: int) -> tuple[Tensor, ...]:
    """beliefs[f]: (agents, states_f)."""
    rng = np.random.default_rng(seed)
    return tuple(torch.tensor(columns(rng, s, agents).T.copy(), dtype=model.dtype) for s in model.num_states)


def random_observations(model: GenerativeModel, agents: int, seed: int, lowest: int = -1) -> tuple[Tensor, ...]:
    """Outcome numbers, int64 (agents,) for each modality; -1: not observed."""
    rng = np.random.default_rng(seed)
    return tuple(torch.from_numpy(rng.integers(lowest, o, agents)) for o in model.num_outcomes)


def of_agent(arrays: tuple[Tensor, ...], agent: int) -> list[np.ndarray]:
    """One agent's arrays without the batch axis."""
    return [x[agent if len(x) > 1 else 0].double().numpy() for x in arrays]
