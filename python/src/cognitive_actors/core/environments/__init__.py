"""Tasks to act in: batches of independent copies, each with the generative model of an agent that faces it.

maze = environment("t-maze", cue_validity=0.75)
state, observations = maze.reset(torch.arange(1000), seed=1)
state, observations = maze.step(state, actions)
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any

from .bandit import ReversalBandit, ReversalBanditState
from .grid import GridWorld, GridWorldState
from .protocol import Environment, EnvironmentState, Observations
from .tmaze import TMaze, TMazeState

__all__ = [
    "ENVIRONMENTS",
    "Environment",
    "EnvironmentState",
    "GridWorld",
    "GridWorldState",
    "Observations",
    "ReversalBandit",
    "ReversalBanditState",
    "TMaze",
    "TMazeState",
    "environment",
]

ENVIRONMENTS: dict[str, Any] = {
    "t-maze": partial(TMaze, variant="adjacent"),
    "t-maze-simplified": partial(TMaze, variant="simplified"),
    "grid-world": partial(GridWorld),
    "reversal-bandit": partial(ReversalBandit),
}


def environment(name: str, **options: Any) -> Environment[Any]:
    """The environment of that name with these settings.

    Raises ValueError for an unknown name or option, listing those there are, and for a setting out of range.
    """
    if name not in ENVIRONMENTS:
        raise ValueError(f"there is no environment {name!r}; write one of {', '.join(ENVIRONMENTS)}")
    make = ENVIRONMENTS[name]
    known = [f.name for f in fields(make.func) if f.name not in make.keywords]
    for option in options:
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; write one of {', '.join(known)}")
    made: Environment[Any] = make(**options)
    return made
