"""The reversal bandit: one arm pays well, the others badly, and from time to time the good arm changes.

The agent does not know what an arm pays: it learns Dirichlet counts, and how fast it forgets them decides how well
it follows the changes. Source of the task: Sales et al. 2019 (PLoS Comput Biol 15:e1006267), figure 7; of the
agent's Beta counts: Markovic et al. 2021 (arXiv 2101.08699).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..model import Factor, GenerativeModel, Modality
from ..philox import Philox, Purpose
from .protocol import EnvironmentState, Observations, begin, check_actions, check_probability

#: A trial number that never comes.
NEVER = 2**62

#: Indices of the draws for Purpose.ENVIRONMENT: which arm becomes the good one, and for how long.
_WHICH, _HOW_LONG = range(2)


@dataclass(frozen=True)
class ReversalBanditState(EnvironmentState):
    """All int64 (N,): good_arm; change: the ``step`` at which the good arm changes next; choice and outcome: the
    latest arm and whether it paid (1) or not (0), both -1 before the first; earned: payments so far;
    optimal: how many choices were of the good arm.
    """

    good_arm: Tensor
    change: Tensor
    choice: Tensor
    outcome: Tensor
    earned: Tensor
    optimal: Tensor


@dataclass(frozen=True)
class ReversalBandit:
    """good and bad: P(payment) of the good arm and of the others; block: for how many choices an arm stays the good
    one (a number, a pair of which every number between is equally likely, ends included, or None for ever);
    another arm than the last is then drawn. preference: log-preference (nats) of payment over none;
    initial_count: the model's Dirichlet counts before any choice (1/2: Jeffreys' prior); moves: of one trial.
    """

    arms: int = 3
    good: float = 0.9
    bad: float = 0.1
    block: int | tuple[int, int] | None = (10, 60)
    preference: float = 2.0
    initial_count: float = 0.5
    moves: int = 150

    name: ClassVar[str] = "reversal-bandit"
    state_class: ClassVar[type[ReversalBanditState]] = ReversalBanditState

    def __post_init__(self) -> None:
        if self.arms < 2:
            raise ValueError(f"arms is {self.arms}; write 2 or more")
        check_probability("good", self.good)
        check_probability("bad", self.bad)
        if self.block is not None:
            shortest, longest = self._block()
            if not 1 <= shortest <= longest:
                raise ValueError(
                    f"block is {self.block}; write a number of choices (1 or more), a pair (shortest, longest), or None"
                )

    def model(
        self,
        *,
        horizon: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> GenerativeModel:
        """One factor (the arm chosen), one modality (payment) whose likelihood is to be learned; horizon 1."""
        arms = tuple(f"arm_{i + 1}" for i in range(self.arms))
        counts = np.full((2, self.arms), self.initial_count)
        # Action u leads to state u, whatever the state before.
        transitions = np.repeat(np.eye(self.arms)[:, None, :], self.arms, axis=1)
        return GenerativeModel.from_arrays(
            [counts / counts.sum(axis=0)],
            [transitions],
            [[0.0, self.preference]],
            factors=[Factor("choice", arms, tuple(f"choose_{arm}" for arm in arms))],
            modalities=[Modality("payment", ("nothing", "payment"), (0,))],
            pA=[counts],
            horizon=1 if horizon is None else horizon,
            name=self.name,
            dtype=dtype,
            device=device,
        )

    def reset(self, agents: Tensor, seed: int, step: Tensor | int = 0) -> tuple[ReversalBanditState, Observations]:
        agents, steps = begin(agents, step)
        random = Philox(seed)
        good = self._integer(random.uniform(agents, steps, Purpose.ENVIRONMENT, _WHICH), self.arms)
        # The first choice is made at step + 1.
        change = steps + 1 + self._block_length(random, agents, steps)
        none, zero = torch.full_like(agents, -1), torch.zeros_like(agents)
        return ReversalBanditState(agents, steps, seed, good, change, none, none, zero, zero), (none,)

    def step(self, state: ReversalBanditState, actions: Tensor) -> tuple[ReversalBanditState, Observations]:
        agents, steps, random = state.agents, state.step + 1, Philox(state.seed)
        check_actions(actions, len(agents), [self.arms])
        choice = actions[:, 0].to(torch.int64)
        now = steps == state.change
        other = 1 + self._integer(random.uniform(agents, steps, Purpose.ENVIRONMENT, _WHICH), self.arms - 1)
        good = torch.where(now, (state.good_arm + other) % self.arms, state.good_arm)
        change = torch.where(now, steps + self._block_length(random, agents, steps), state.change)
        right = choice == good
        uniform = random.uniform(agents, steps, Purpose.OUTCOME)
        outcome = torch.where(right, uniform < self.good, uniform < self.bad).to(torch.int64)
        return replace(
            state,
            step=steps,
            good_arm=good,
            change=change,
            choice=choice,
            outcome=outcome,
            earned=state.earned + outcome,
            optimal=state.optimal + right,
        ), (outcome,)

    def reward(self, state: ReversalBanditState) -> Tensor:
        """1 where the latest choice paid, else 0."""
        return (state.outcome == 1).to(torch.float64)

    def success(self, state: ReversalBanditState) -> None:
        """None: the bandit is judged by what was earned."""
        return None

    def measures(self, state: ReversalBanditState) -> dict[str, Tensor]:
        return {"earned": state.earned.to(torch.float64), "good_arm_chosen": state.optimal.to(torch.float64)}

    def _block(self) -> tuple[int, int]:
        return self.block if isinstance(self.block, tuple) else (self.block or NEVER, self.block or NEVER)

    def _block_length(self, random: Philox, agents: Tensor, steps: Tensor) -> Tensor:
        shortest, longest = self._block()
        if shortest == longest:
            return torch.full_like(agents, shortest)
        uniform = random.uniform(agents, steps, Purpose.ENVIRONMENT, _HOW_LONG)
        return shortest + self._integer(uniform, longest - shortest + 1)

    @staticmethod
    def _integer(uniform: Tensor, n: int) -> Tensor:
        """A whole number in 0..n-1 from a uniform number in [0, 1)."""
        return (uniform * n).to(torch.int64)
