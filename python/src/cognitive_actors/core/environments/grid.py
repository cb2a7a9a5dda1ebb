"""A grid world with chained cues: the first cue tells where the second is, the second tells where the reward is.

The agent has to plan for information that is itself only a way to information. The task and its default layout are
those of pymdp's cue-chaining demonstration (Heins et al. 2022, J Open Source Softw 7:4098).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..model import Factor, GenerativeModel, Modality
from ..philox import Philox
from .process import NOTHING, OUTCOMES, PUNISHMENT, REWARD, Process, signed_reward
from .protocol import EnvironmentState, Observations, begin

Cell = tuple[int, int]

MOVES: dict[str, Cell] = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1), "stay": (0, 0)}


@dataclass(frozen=True)
class GridWorldState(EnvironmentState):
    """hidden: int64 (N, 3), cell, which second cue speaks, which place is rewarded; outcome: int64 (N,), the latest
    of nothing, reward, punishment; cues: bool (N, 2), whether the first and the speaking second cue were read.
    """

    hidden: Tensor
    outcome: Tensor
    cues: Tensor


@dataclass(frozen=True)
class GridWorld:
    """shape: rows and columns; every place is a (row, column). One of the second cues speaks, the others are silent;
    one of the rewards is a reward, the others punish. preferences: relative log-preferences (nats) for nothing,
    reward and punishment; moves: of one trial.
    """

    shape: Cell = (5, 7)
    start: Cell = (0, 0)
    first_cue: Cell = (2, 0)
    second_cues: tuple[Cell, ...] = ((0, 2), (1, 3), (3, 3), (4, 2))
    rewards: tuple[Cell, ...] = ((1, 5), (3, 5))
    preferences: tuple[float, float, float] = (0.0, 2.0, -4.0)
    moves: int = 15

    name: ClassVar[str] = "grid-world"
    state_class: ClassVar[type[GridWorldState]] = GridWorldState

    def __post_init__(self) -> None:
        if min(self.shape) < 1:
            raise ValueError(f"shape is {self.shape}; write the numbers of rows and columns, each 1 or more")
        places: dict[str, Sequence[Cell]] = {
            "start": (self.start,),
            "first_cue": (self.first_cue,),
            "second_cues": self.second_cues,
            "rewards": self.rewards,
        }
        for name, cells in places.items():
            if len(set(cells)) < max(len(cells), 1 if name != "rewards" else 2):
                raise ValueError(f"{name} is {cells}; write distinct places, at least {2 if name == 'rewards' else 1}")
            for row, column in cells:
                if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
                    raise ValueError(
                        f"{name} holds ({row}, {column}), which is outside the grid; write a row below"
                        f" {self.shape[0]} and a column below {self.shape[1]}, counted from 0"
                    )

    def model(
        self,
        *,
        horizon: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> GenerativeModel:
        """Three factors (location, speaking cue, rewarded place); horizon 4 unless given."""
        return self._process.model(
            self.name, 4 if horizon is None else horizon, {"reward": self.preferences}, dtype, device
        )

    def reset(self, agents: Tensor, seed: int, step: Tensor | int = 0) -> tuple[GridWorldState, Observations]:
        agents, steps = begin(agents, step)
        random = Philox(seed)
        hidden = self._process.begin(agents, steps, random)
        observations = self._process.observe(hidden, agents, steps, random)
        return GridWorldState(agents, steps, seed, hidden, observations[3], self._read(observations)), observations

    def step(self, state: GridWorldState, actions: Tensor) -> tuple[GridWorldState, Observations]:
        random, steps = Philox(state.seed), state.step + 1
        hidden = self._process.move(state.hidden, actions, state.agents, steps, random)
        observations = self._process.observe(hidden, state.agents, steps, random)
        cues = state.cues | self._read(observations)
        return replace(state, step=steps, hidden=hidden, outcome=observations[3], cues=cues), observations

    def reward(self, state: GridWorldState) -> Tensor:
        """1 for reward, -1 for punishment, 0 for nothing."""
        return signed_reward(state.outcome)

    def success(self, state: GridWorldState) -> Tensor:
        """The latest move was rewarded."""
        return state.outcome == REWARD

    def measures(self, state: GridWorldState) -> dict[str, Tensor]:
        return {
            "first_cue_read": state.cues[:, 0].to(torch.float64),
            "second_cue_read": state.cues[:, 1].to(torch.float64),
            "final_reward": self.success(state).to(torch.float64),
        }

    @staticmethod
    def _read(observations: Observations) -> Tensor:
        return torch.stack([observations[1] > 0, observations[2] > 0], dim=1)

    def _number(self, cell: Cell) -> int:
        return cell[0] * self.shape[1] + cell[1]

    @cached_property
    def _process(self) -> Process:
        rows, columns = self.shape
        cells = tuple(_cell_name((r, c)) for r in range(rows) for c in range(columns))
        cues = tuple(_cell_name(c) for c in self.second_cues)
        rewards = tuple(_cell_name(c) for c in self.rewards)
        factors = (
            Factor("location", cells, tuple(MOVES)),
            Factor("speaking_cue", tuple(f"cue_at_{c}" for c in cues)),
            Factor("rewarded_place", tuple(f"reward_at_{c}" for c in rewards)),
        )
        modalities = (
            Modality("location", cells, (0,)),
            Modality("first_cue", ("nothing", *(f"look_at_{c}" for c in cues)), (0, 1)),
            Modality("second_cue", ("nothing", *(f"go_to_{c}" for c in rewards)), (0, 1, 2)),
            Modality("reward", OUTCOMES, (0, 2)),
        )
        A = (np.eye(len(cells)), self._first_cue(), self._second_cue(), self._rewards())
        B = (self._transitions(), np.eye(len(cues))[:, :, None], np.eye(len(rewards))[:, :, None])
        start = np.eye(len(cells))[self._number(self.start)]
        D = (start, np.full(len(cues), 1 / len(cues)), np.full(len(rewards), 1 / len(rewards)))
        return Process(factors, modalities, A, B, D)

    def _first_cue(self) -> np.ndarray:
        """P(first cue | cell, speaking cue)."""
        cues, here = len(self.second_cues), self._number(self.first_cue)
        A = np.zeros((1 + cues, self.shape[0] * self.shape[1], cues))
        A[0] = 1
        A[:, here] = np.eye(1 + cues)[:, 1:]
        return A

    def _second_cue(self) -> np.ndarray:
        """P(second cue | cell, speaking cue, rewarded place)."""
        rewards = len(self.rewards)
        A = np.zeros((1 + rewards, self.shape[0] * self.shape[1], len(self.second_cues), rewards))
        A[0] = 1
        for speaking, cell in enumerate(self.second_cues):
            A[:, self._number(cell), speaking] = np.eye(1 + rewards)[:, 1:]
        return A

    def _rewards(self) -> np.ndarray:
        """P(outcome | cell, rewarded place)."""
        A = np.zeros((3, self.shape[0] * self.shape[1], len(self.rewards)))
        A[NOTHING] = 1
        for place, cell in enumerate(self.rewards):
            for rewarded in range(len(self.rewards)):
                A[:, self._number(cell), rewarded] = np.eye(3)[REWARD if place == rewarded else PUNISHMENT]
        return A

    def _transitions(self) -> np.ndarray:
        """P(cell next | cell, move): a move over the edge leaves the agent where it is."""
        rows, columns = self.shape
        B = np.zeros((rows * columns, rows * columns, len(MOVES)))
        for row in range(rows):
            for column in range(columns):
                for u, (down, right) in enumerate(MOVES.values()):
                    there = (min(max(row + down, 0), rows - 1), min(max(column + right, 0), columns - 1))
                    B[self._number(there), self._number((row, column)), u] = 1
        return B


def _cell_name(cell: Cell) -> str:
    return f"row_{cell[0]}_column_{cell[1]}"
