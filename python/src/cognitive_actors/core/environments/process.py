"""A generative process: the world as a discrete POMDP whose true arrays are A, B and D, sampled for many agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..model import Factor, GenerativeModel, Modality
from ..philox import Philox, Purpose
from .protocol import Observations, check_actions

#: What the reward modality of a task with rewards and punishments shows.
OUTCOMES = ("nothing", "reward", "punishment")
NOTHING, REWARD, PUNISHMENT = range(3)


def signed_reward(outcome: Tensor) -> Tensor:
    """1 for reward, -1 for punishment, 0 for nothing. outcome: int64 (N,) of OUTCOMES -> float64 (N,)."""
    return (outcome == REWARD).to(torch.float64) - (outcome == PUNISHMENT).to(torch.float64)


class Table:
    """A conditional distribution P(x | parents), sampled by inversion. p: (values, parents ...)."""

    def __init__(self, p: np.ndarray) -> None:
        rows = np.asarray(p, dtype=np.float64).reshape(p.shape[0], -1).T
        cumulative = rows.cumsum(axis=1)
        # Dividing by the last entry makes it exactly one, so that no rounding can draw a value of probability zero.
        self.cumulative = torch.from_numpy(cumulative / cumulative[:, -1:])
        self.certain = torch.from_numpy(rows.argmax(axis=1)) if (rows.max(axis=1) == 1).all() else None
        self.parents = p.shape[1:]

    def draw(self, parents: Sequence[Tensor], random: Philox, at: tuple[Tensor, Tensor, Purpose, int]) -> Tensor:
        """One value per agent, int64 (N,). parents: int64 (N,) each; at: the arguments of ``Philox.uniform``."""
        row = torch.zeros_like(at[0])
        for value, size in zip(parents, self.parents, strict=True):
            row = row * size + value
        if self.certain is not None:
            return self.certain.to(row.device)[row]
        bounds = self.cumulative.to(row.device)[row]
        return (random.uniform(*at)[:, None] >= bounds).sum(dim=-1)


@dataclass(frozen=True)
class Process:
    """The world's own arrays, without a batch axis: A[m] (outcomes, states ...), B[f] (next, previous, actions), D[f].

    Hidden states are int64 (N, factors). An agent with the same arrays in its model knows the world perfectly.
    """

    factors: tuple[Factor, ...]
    modalities: tuple[Modality, ...]
    A: tuple[np.ndarray, ...]
    B: tuple[np.ndarray, ...]
    D: tuple[np.ndarray, ...]

    @cached_property
    def _tables(self) -> tuple[tuple[Table, ...], tuple[Table, ...], tuple[Table, ...]]:
        outcomes, moves, starts = (tuple(Table(p) for p in arrays) for arrays in (self.A, self.B, self.D))
        return outcomes, moves, starts

    def begin(self, agents: Tensor, steps: Tensor, random: Philox) -> Tensor:
        """Hidden states drawn from D."""
        draws = [t.draw((), random, (agents, steps, Purpose.ENVIRONMENT, f)) for f, t in enumerate(self._tables[2])]
        return torch.stack(draws, dim=1)

    def move(self, hidden: Tensor, actions: Tensor, agents: Tensor, steps: Tensor, random: Philox) -> Tensor:
        """Hidden states drawn from B. Raises ValueError for actions that do not fit."""
        check_actions(actions, len(agents), [len(f.actions) for f in self.factors])
        draws = [
            t.draw((hidden[:, f], actions[:, f]), random, (agents, steps, Purpose.ENVIRONMENT, f))
            for f, t in enumerate(self._tables[1])
        ]
        return torch.stack(draws, dim=1)

    def observe(self, hidden: Tensor, agents: Tensor, steps: Tensor, random: Philox) -> Observations:
        """Outcomes drawn from A."""
        return tuple(
            t.draw([hidden[:, f] for f in modality.factors], random, (agents, steps, Purpose.OUTCOME, m))
            for m, (t, modality) in enumerate(zip(self._tables[0], self.modalities, strict=True))
        )

    def model(
        self,
        name: str,
        horizon: int,
        preferences: dict[str, Sequence[float]],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> GenerativeModel:
        """The generative model with these arrays; preferences: relative log-preferences of the modalities named."""
        return GenerativeModel.from_arrays(
            self.A,
            self.B,
            [preferences.get(m.name, np.zeros(len(m.outcomes))) for m in self.modalities],
            self.D,
            factors=self.factors,
            modalities=self.modalities,
            horizon=horizon,
            name=name,
            dtype=dtype,
            device=device,
        )
