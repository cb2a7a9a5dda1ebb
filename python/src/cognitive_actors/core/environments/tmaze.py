"""The T-maze: is it worth a detour to look at the cue before choosing an arm?

Two variants. In the adjacent one the arms lie behind a middle, moves lead to neighbouring places only and the cue is
a modality of its own. In the simplified one every place is one move away and the cue shows in the location.
Source: Friston et al. 2015, Active inference and epistemic value (Cogn Neurosci 6:187); the two layouts and their
probabilities are those of pymdp 1.0.4 (TMaze and SimplifiedTMaze).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from ..model import Factor, GenerativeModel, Modality
from ..philox import Philox
from .process import NOTHING, OUTCOMES, REWARD, Process, signed_reward
from .protocol import EnvironmentState, Observations, begin, check_probability

CENTRE, LEFT, RIGHT, CUE, MIDDLE = range(5)

PLACES = ("centre", "left_arm", "right_arm", "cue", "middle")
CONDITIONS = ("reward_left", "reward_right")
CUES = ("cue_left", "cue_right")

_NEIGHBOURS = {(CENTRE, CUE), (CENTRE, MIDDLE), (MIDDLE, LEFT), (MIDDLE, RIGHT)}


@dataclass(frozen=True)
class TMazeState(EnvironmentState):
    """hidden: int64 (N, 2), place and condition; outcome: int64 (N,), the latest of OUTCOMES;
    first_arm: int64 (N,), the arm entered first, 0 for left and 1 for right, -1 before;
    cue_first: bool (N,), whether the cue was visited before any arm.
    """

    hidden: Tensor
    outcome: Tensor
    first_arm: Tensor
    cue_first: Tensor


@dataclass(frozen=True)
class TMaze:
    """cue_validity: P(the cue tells the truth); reward_probability: P(reward) in the right arm, nothing otherwise;
    punishment_probability: P(punishment) in the wrong arm, nothing otherwise; dependent_outcomes: an arm always
    gives reward or punishment, the wrong arm with the two probabilities exchanged; condition: ``reward_left`` or
    ``reward_right`` fixes the world, of which the agent's model knows nothing; preferences: relative
    log-preferences (nats) for nothing, reward and punishment.
    """

    cue_validity: float = 0.95
    reward_probability: float = 0.98
    punishment_probability: float = 1.0
    variant: Literal["adjacent", "simplified"] = "adjacent"
    dependent_outcomes: bool = False
    condition: str | None = None
    preferences: tuple[float, float, float] = (0.0, 2.0, -3.0)

    state_class: ClassVar[type[TMazeState]] = TMazeState

    def __post_init__(self) -> None:
        for name in ("cue_validity", "reward_probability", "punishment_probability"):
            check_probability(name, getattr(self, name))
        if self.variant not in ("adjacent", "simplified"):
            raise ValueError(f"variant is {self.variant!r}; write 'adjacent' or 'simplified'")
        if self.condition is not None and self.condition not in CONDITIONS:
            raise ValueError(f"condition is {self.condition!r}; write one of {list(CONDITIONS)}, or None for chance")

    @property
    def name(self) -> str:
        return "t-maze" if self.variant == "adjacent" else "t-maze-simplified"

    @property
    def moves(self) -> int:
        return 6 if self.variant == "adjacent" else 4

    def model(
        self,
        *,
        horizon: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> GenerativeModel:
        """Two factors (location, condition); horizon 3 (adjacent) or 2 (simplified) unless given."""
        if horizon is None:
            horizon = 3 if self.variant == "adjacent" else 2
        return self._believed.model(self.name, horizon, {"reward": self.preferences}, dtype, device)

    def reset(self, agents: Tensor, seed: int, step: Tensor | int = 0) -> tuple[TMazeState, Observations]:
        agents, steps = begin(agents, step)
        random = Philox(seed)
        hidden = self._process.begin(agents, steps, random)
        observations = self._process.observe(hidden, agents, steps, random)
        none = torch.full_like(agents, -1)
        return TMazeState(agents, steps, seed, hidden, observations[1], none, none >= 0), observations

    def step(self, state: TMazeState, actions: Tensor) -> tuple[TMazeState, Observations]:
        random, steps = Philox(state.seed), state.step + 1
        hidden = self._process.move(state.hidden, actions, state.agents, steps, random)
        observations = self._process.observe(hidden, state.agents, steps, random)
        place = hidden[:, 0]
        entered = (state.first_arm < 0) & ((place == LEFT) | (place == RIGHT))
        return replace(
            state,
            step=steps,
            hidden=hidden,
            outcome=observations[1],
            first_arm=torch.where(entered, place - LEFT, state.first_arm),
            cue_first=state.cue_first | ((place == CUE) & (state.first_arm < 0)),
        ), observations

    def reward(self, state: TMazeState) -> Tensor:
        """1 for reward, -1 for punishment, 0 for nothing."""
        return signed_reward(state.outcome)

    def success(self, state: TMazeState) -> Tensor:
        """The latest move was rewarded."""
        return state.outcome == REWARD

    def measures(self, state: TMazeState) -> dict[str, Tensor]:
        reached = state.first_arm >= 0
        correct = (state.first_arm == state.hidden[:, 1]).to(torch.float64)
        return {
            "cue_first": state.cue_first.to(torch.float64),
            "reached_arm": reached.to(torch.float64),
            "first_arm_correct": torch.where(reached, correct, torch.nan),
            "final_reward": self.success(state).to(torch.float64),
        }

    @cached_property
    def _believed(self) -> Process:
        """The process as the agent knows it: every condition equally likely."""
        places = PLACES if self.variant == "adjacent" else PLACES[:MIDDLE]
        location = Factor("location", places, tuple(f"go_{place}" for place in places))
        condition = Factor("condition", CONDITIONS)
        reward = Modality("reward", OUTCOMES, (0, 1))
        if self.variant == "adjacent":
            cue = Modality("cue", ("nothing", *CUES), (0, 1))
            modalities: tuple[Modality, ...] = (Modality("location", places, (0,)), reward, cue)
            A: tuple[np.ndarray, ...] = (np.eye(len(places)), self._rewards(len(places)), self._separate_cue())
        else:
            modalities = (Modality("location", (*places[:CUE], *CUES), (0, 1)), reward)
            A = (self._location_with_cue(), self._rewards(len(places)))
        start = np.eye(len(places))[CENTRE]
        B = (self._transitions(len(places)), np.eye(2)[:, :, None])
        return Process((location, condition), modalities, A, B, (start, np.full(2, 0.5)))

    @cached_property
    def _process(self) -> Process:
        if self.condition is None:
            return self._believed
        fixed = np.eye(2)[CONDITIONS.index(self.condition)]
        return replace(self._believed, D=(self._believed.D[0], fixed))

    def _rewards(self, places: int) -> np.ndarray:
        """P(outcome | place, condition)."""
        A = np.zeros((3, places, 2))
        A[NOTHING] = 1
        p, q = self.reward_probability, self.punishment_probability
        right = (0, p, 1 - p) if self.dependent_outcomes else (1 - p, p, 0)
        wrong = (0, 1 - p, p) if self.dependent_outcomes else (1 - q, 0, q)
        for arm in (LEFT, RIGHT):
            for condition in range(2):
                A[:, arm, condition] = right if arm - LEFT == condition else wrong
        return A

    def _cue(self) -> np.ndarray:
        """P(cue shown | condition)."""
        v = self.cue_validity
        return np.array([[v, 1 - v], [1 - v, v]])

    def _separate_cue(self) -> np.ndarray:
        A = np.zeros((3, 5, 2))
        A[0] = 1
        A[0, CUE] = 0
        A[1:, CUE] = self._cue()
        return A

    def _location_with_cue(self) -> np.ndarray:
        A = np.zeros((5, 4, 2))
        A[range(CUE), range(CUE)] = 1
        A[CUE:, CUE] = self._cue()
        return A

    def _transitions(self, places: int) -> np.ndarray:
        """P(place next | place, action): there if a move leads there, otherwise the agent stays."""
        B = np.zeros((places, places, places))
        for here in range(places):
            for there in range(places):
                connected = self.variant == "simplified" or {(here, there), (there, here)} & _NEIGHBOURS
                B[there if connected else here, here, there] = 1
        return B
