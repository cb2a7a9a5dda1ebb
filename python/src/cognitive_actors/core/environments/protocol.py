"""What every environment offers, and how its state is kept.

An environment is N independent copies of a task, stepped together. It holds settings only: the state goes in and a
new state comes out. All chance is drawn from :mod:`~cognitive_actors.core.philox` with the agents' own numbers and
step counts, so an agent meets the same world in a batch of one and in a batch of a thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..model import GenerativeModel

#: One int64 (agents,) tensor of outcome numbers per modality; -1 where a modality was not observed.
Observations = tuple[Tensor, ...]


@dataclass(frozen=True)
class EnvironmentState:
    """What all environments keep. Every tensor has the agents on its first axis.

    agents: int64 (N,), the agents' own numbers; step: int64 (N,), their own step counts, which also count across
    trials; seed: of the random generator, below 2**64.
    """

    agents: Tensor
    step: Tensor
    seed: int

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Every field as a numpy array under its own name; :meth:`from_arrays` restores exactly this state."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: x.detach().cpu().numpy().copy() if isinstance(x, Tensor) else np.array(x, dtype=np.uint64)
            for name, x in values.items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> Self:
        """The state that :meth:`to_arrays` described. Raises ValueError naming what is missing or unknown."""
        names = {f.name for f in fields(cls)}
        for problem, odd in (("lack", names - set(arrays)), ("hold unknown", set(arrays) - names)):
            if odd:
                raise ValueError(f"the arrays of a {cls.__name__} {problem} {sorted(odd)}; write {sorted(names)}")
        values: dict[str, Any] = {
            name: torch.from_numpy(np.array(arrays[name])).to(device) for name in names - {"seed"}
        }
        return cls(seed=int(arrays["seed"]), **values)


State = TypeVar("State", bound=EnvironmentState)


class Environment(Protocol[State]):
    """A batch of copies of a task, with the generative model of an agent that knows the task."""

    @property
    def name(self) -> str:
        """The name under which ``environment`` finds it."""

    @property
    def moves(self) -> int:
        """How many actions one trial takes."""

    @property
    def state_class(self) -> type[State]:
        """The class of its states, for restoring one with ``from_arrays``."""

    def model(
        self,
        *,
        horizon: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> GenerativeModel:
        """The matching generative model, shared by all agents; horizon in moves (None: what the task needs)."""

    def reset(self, agents: Tensor, seed: int, step: Tensor | int = 0) -> tuple[State, Observations]:
        """Begin a trial. agents: int64 (N,); step: the agents' own step counts at its beginning, scalar or (N,).

        Give a later trial a later step (``state.step + 1``), otherwise it repeats the earlier one.
        """

    def step(self, state: State, actions: Tensor) -> tuple[State, Observations]:
        """One move. actions: int64 (N, factors). Raises ValueError for a shape or an action that does not fit."""

    def reward(self, state: State) -> Tensor:
        """What the latest move brought: float64 (N,)."""

    def success(self, state: State) -> Tensor | None:
        """Whether the trial, if it ended now, succeeded: bool (N,), or None where the task has no such notion."""

    def measures(self, state: State) -> dict[str, Tensor]:
        """The figures by which the task is usually reported: float64 (N,) each, NaN where one is undefined."""


def begin(agents: Tensor, step: Tensor | int) -> tuple[Tensor, Tensor]:
    """The agents' numbers and step counts as int64 (N,) tensors on one device."""
    if agents.dim() != 1 or agents.is_floating_point():
        raise ValueError(f"agents has shape {tuple(agents.shape)} and type {agents.dtype}; write int64 (N,)")
    agents = agents.to(torch.int64)
    steps = torch.as_tensor(step, dtype=torch.int64, device=agents.device).expand_as(agents).clone()
    return agents, steps


def check_actions(actions: Tensor, agents: int, num_actions: Sequence[int]) -> None:
    """Raise ValueError unless actions is an integer (agents, factors) tensor of existing actions."""
    expected = (agents, len(num_actions))
    if tuple(actions.shape) != expected or actions.is_floating_point():
        raise ValueError(f"actions has shape {tuple(actions.shape)} and type {actions.dtype}; write int64 {expected}")
    for f, n in enumerate(num_actions):
        wrong = ((actions[:, f] < 0) | (actions[:, f] >= n)).nonzero()
        if len(wrong):
            i = int(wrong[0])
            raise ValueError(f"actions[{i}, {f}] is {int(actions[i, f])}; write a number between 0 and {n - 1}")


def check_probability(name: str, value: float) -> None:
    """Raise ValueError unless value is a probability."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; write a probability between 0 and 1")
