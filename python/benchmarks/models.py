"""The models that planning is measured on, as plain arrays that both sides are built from.

S1 .. S4      one factor of 4 states, 4 outcomes, 4 actions; horizon 1 to 4: 4 to 256 policies
T2, T3        a T-maze of 5 places and 2 reward conditions; horizon 2 and 3: 25 and 125 policies
M3            a grid of 8 by 8 places seen through noise, 5 moves; horizon 3: 125 policies
L1_3          two factors of 16 states, two modalities of 16 outcomes over both, 5 actions; 125 policies
L5_2, L5_3    the same with 5 actions for each factor; horizon 2 and 3: 625 and 15 625 policies
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Arrays = tuple[np.ndarray, ...]

#: Precision of the policy posterior on both sides.
GAMMA = 16.0
BATCHES = (1, 64, 1024)


@dataclass(frozen=True)
class PlanningModel:
    """A[m] (outcomes, states ...), B[f] (next, previous, actions), C[m] normalised log-preferences; float64."""

    name: str
    A: Arrays
    B: Arrays
    C: Arrays
    dependencies: tuple[tuple[int, ...], ...]
    horizon: int

    @property
    def states(self) -> tuple[int, ...]:
        return tuple(b.shape[0] for b in self.B)

    @property
    def actions(self) -> tuple[int, ...]:
        return tuple(b.shape[2] for b in self.B)

    @property
    def policies(self) -> int:
        return int(math.prod(self.actions) ** self.horizon)

    @property
    def habits(self) -> np.ndarray:
        return np.full(self.policies, 1 / self.policies)

    def beliefs(self, agents: int) -> Arrays:
        """Random beliefs about the present, (agents, states_f) for each factor."""
        rng = np.random.default_rng([7, agents])
        return tuple(rng.dirichlet(np.ones(s), size=agents) for s in self.states)


def planning_models() -> dict[str, PlanningModel]:
    """All models by name."""
    models = [_small(h) for h in (1, 2, 3, 4)] + [_t_maze(2), _t_maze(3), _grid()]
    models += [_two_factors(1, 3), _two_factors(5, 2), _two_factors(5, 3)]
    return {m.name: m for m in models}


def _small(horizon: int) -> PlanningModel:
    rng = np.random.default_rng(1)
    return PlanningModel(
        f"S{horizon}",
        (_columns(rng, 4, 4),),
        (_columns(rng, 4, 4, 4),),
        (_log_softmax(rng.normal(size=4)),),
        ((0,),),
        horizon,
    )


def _t_maze(horizon: int) -> PlanningModel:
    """Centre, left arm, right arm, cue, middle; the reward is left or right; cue 95 %, reward 98 % reliable."""
    doors = {(0, 3), (3, 0), (0, 4), (4, 0), (4, 1), (1, 4), (4, 2), (2, 4)}
    move = np.zeros((5, 5, 5))
    for here in range(5):
        for wanted in range(5):
            move[wanted if (here, wanted) in doors else here, here, wanted] = 1
    reward, cue = np.zeros((3, 5, 2)), np.zeros((3, 5, 2))
    reward[0, [0, 3, 4]] = 1
    cue[0, [0, 1, 2, 4]] = 1
    for side in (0, 1):
        reward[[0, 1], 1 + side, side] = 0.02, 0.98
        reward[2, 2 - side, side] = 1
        cue[[1 + side, 2 - side], 3, side] = 0.95, 0.05
    preferences = tuple(_log_softmax(np.array(c)) for c in ([0.0] * 5, [0.0, 2.0, -3.0], [0.0] * 3))
    return PlanningModel(
        f"T{horizon}",
        (np.eye(5), reward, cue),
        (move, np.eye(2)[:, :, None]),
        preferences,
        ((0,), (0, 1), (0, 1)),
        horizon,
    )


def _grid(side: int = 8) -> PlanningModel:
    """Stay or move by one place, not through walls; outcomes fall off with the distance from the place."""
    places = [(x, y) for x in range(side) for y in range(side)]
    move = np.zeros((len(places), len(places), 5))
    for i, (x, y) in enumerate(places):
        for u, (dx, dy) in enumerate([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]):
            to = (min(max(x + dx, 0), side - 1), min(max(y + dy, 0), side - 1))
            move[places.index(to), i, u] = 1
    distance = np.array([[math.dist(a, b) for a in places] for b in places])
    seen = np.exp(-(distance**2))
    preferences = _log_softmax(-distance[-1] / 4)
    return PlanningModel("M3", (seen / seen.sum(axis=0),), (move,), (preferences,), ((0,),), 3)


def _two_factors(second: int, horizon: int) -> PlanningModel:
    rng = np.random.default_rng(2)
    return PlanningModel(
        f"L{second}_{horizon}",
        tuple(_columns(rng, 16, 16, 16) for _ in range(2)),
        (_columns(rng, 16, 16, 5), _columns(rng, 16, 16, second)),
        tuple(_log_softmax(rng.normal(size=16)) for _ in range(2)),
        ((0, 1), (0, 1)),
        horizon,
    )


def _columns(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random probabilities that sum to one over the first axis."""
    return np.moveaxis(rng.dirichlet(np.ones(shape[0]), size=shape[1:]), -1, 0)


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max()
    normalised: np.ndarray = x - np.log(np.exp(x).sum())
    return normalised
