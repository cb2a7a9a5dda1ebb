"""The models of the reference: small, drawn from a fixed seed, with what their agents see and do.

Log-preferences are normalised here: pymdp uses them as given, and risk is only defined for normalised ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pymdp.envs import TMaze

Tuples = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Case:
    """One generative model without a batch axis, and a few agents that share it."""

    name: str
    A: Tuples
    B: Tuples
    C: Tuples
    D: Tuples
    E: np.ndarray
    dependencies: tuple[tuple[int, ...], ...]
    horizon: int
    pA: Tuples
    pB: Tuples
    pD: Tuples
    priors: Tuples
    observations: tuple[Tuples, ...]
    soft: Tuples
    actions: np.ndarray

    @property
    def agents(self) -> int:
        return len(self.actions)

    def arrays(self) -> dict[str, np.ndarray]:
        """The model and the agents' inputs under ``model/...``."""
        named = {"model/E": self.E, "model/horizon": np.array(self.horizon), "model/actions": self.actions}
        for label in ("A", "B", "C", "D", "pA", "pB", "pD", "priors", "soft"):
            named |= {f"model/{label}_{i}": x for i, x in enumerate(getattr(self, label))}
        named |= {f"model/dependencies_{m}": np.array(d) for m, d in enumerate(self.dependencies)}
        for step, observations in enumerate(self.observations):
            named |= {f"model/observations_{step}_{m}": o for m, o in enumerate(observations)}
        return named


def log_softmax(x: np.ndarray) -> np.ndarray:
    """ln softmax over the last axis."""
    x = x - x.max(axis=-1, keepdims=True)
    normalised: np.ndarray = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return normalised


def columns(rng: np.random.Generator, *shape: int, concentration: float = 1.0) -> np.ndarray:
    """Random probabilities that sum to one over the first axis."""
    return np.moveaxis(rng.dirichlet(np.full(shape[0], concentration), size=shape[1:]), -1, 0)


def complete(
    name: str,
    rng: np.random.Generator,
    A: Tuples,
    B: Tuples,
    *,
    dependencies: tuple[tuple[int, ...], ...],
    horizon: int,
    C: Tuples | None = None,
    D: Tuples | None = None,
    habits: bool = False,
    agents: int = 4,
) -> Case:
    """A case from A and B; what is not given is drawn. One agent of the batch misses the last modality."""
    states = [b.shape[0] for b in B]
    actions = [b.shape[2] for b in B]
    policies = int(np.prod(actions)) ** horizon
    D_given = D if D is not None else tuple(columns(rng, s) for s in states)
    observations = tuple(tuple(rng.integers(0, a.shape[0], size=agents) for a in A) for _ in range(2))
    if len(A) > 1 and agents > 1:
        observations[0][-1][1] = -1
    return Case(
        name=name,
        A=A,
        B=B,
        C=C if C is not None else tuple(log_softmax(rng.normal(0, 1.5, a.shape[:1])) for a in A),
        D=D_given,
        E=columns(rng, policies) if habits else np.full(policies, 1 / policies),
        dependencies=dependencies,
        horizon=horizon,
        pA=tuple(6 * a + rng.uniform(0.1, 1, a.shape) for a in A),
        pB=tuple(6 * b + rng.uniform(0.1, 1, b.shape) for b in B),
        pD=tuple(1 + 4 * d for d in D_given),
        priors=tuple(
            np.repeat(d[None], agents, 0) if D is not None else columns(rng, s, agents).T
            for d, s in zip(D_given, states, strict=True)
        ),
        observations=observations,
        soft=tuple(columns(rng, a.shape[0], agents).T for a in A),
        actions=np.stack([rng.integers(0, u, size=agents) for u in actions], axis=1),
    )


def t_maze(rng: np.random.Generator) -> Case:
    """pymdp's T-maze: deterministic but for the cue and the reward. Its agents start in the centre."""
    environment = TMaze(reward_probability=0.98, cue_validity=0.95)
    case = complete(
        "t_maze",
        rng,
        tuple(np.asarray(a, dtype=np.float64) for a in environment.A),
        tuple(np.asarray(b, dtype=np.float64) for b in environment.B),
        dependencies=((0,), (0, 1), (0, 1)),
        horizon=2,
        C=(log_softmax(np.zeros(5)), log_softmax(np.array([0.0, 2.0, -3.0])), log_softmax(np.zeros(3))),
        D=tuple(np.asarray(d, dtype=np.float64) for d in environment.D),
    )
    # To the cue, which points left, right, left; the last agent walks against the wall and sees the centre again.
    start = tuple(np.zeros(4, dtype=np.int64) for _ in range(3))
    then = (np.array([3, 3, 3, 0]), np.zeros(4, dtype=np.int64), np.array([1, 2, 1, 0]))
    actions = np.array([[3, 0], [3, 0], [3, 0], [1, 0]])
    return replace(case, observations=(start, then), actions=actions)


def reference_cases() -> list[Case]:
    """The cases with inference, planning and learning."""

    def rng(seed: int) -> np.random.Generator:
        return np.random.default_rng([104, seed])

    r = rng(1)
    one = complete("one_factor", r, (columns(r, 4, 4),), (columns(r, 4, 4, 3),), dependencies=((0,),), horizon=2)
    r = rng(2)
    A: Tuples = (columns(r, 3, 5), columns(r, 4, 5))
    two = complete("two_modalities", r, A, (columns(r, 5, 5, 2),), dependencies=((0,), (0,)), horizon=2)
    r = rng(3)
    A = (columns(r, 4, 4), columns(r, 3, 4, 4, concentration=3), columns(r, 2, 4))
    B: Tuples = (columns(r, 4, 4, 3), columns(r, 4, 4, 1))
    factors = complete("two_factors", r, A, B, dependencies=((0,), (0, 1), (1,)), horizon=2)
    r = rng(5)
    A = (columns(r, 3, 3, 2, concentration=3), columns(r, 2, 2))
    B = (columns(r, 3, 3, 3), columns(r, 2, 2, 2))
    controls = complete("two_controls", r, A, B, dependencies=((0, 1), (1,)), horizon=3)
    r = rng(6)
    A = (columns(r, 3, 3), columns(r, 3, 3))
    C = tuple(log_softmax(r.normal(0, 1.5, (3, 3))) for _ in A)
    B = (columns(r, 3, 3, 2),)
    habits = complete("changing_preferences", r, A, B, dependencies=((0,), (0,)), horizon=3, C=C, habits=True)
    return [one, two, factors, t_maze(rng(4)), controls, habits]


def coupled_factors() -> Case:
    """Two binary factors and one outcome that says whether they agree; the priors disagree."""
    agree = np.where(np.eye(2) > 0, 0.999, 0.001)
    case = complete(
        "coupled_factors",
        np.random.default_rng([104, 7]),
        (np.stack([agree, 1 - agree]),),
        (np.eye(2)[:, :, None], np.eye(2)[:, :, None]),
        dependencies=((0, 1),),
        horizon=1,
        D=(np.array([0.6, 0.4]), np.array([0.4, 0.6])),
        agents=1,
    )
    return replace(case, observations=((np.zeros(1, dtype=np.int64),),))


def two_identical_modalities() -> Case:
    """One binary factor seen without noise, twice; the belief is uniform."""
    return complete(
        "two_identical_modalities",
        np.random.default_rng([104, 8]),
        (np.eye(2), np.eye(2)),
        (np.eye(2)[:, :, None],),
        dependencies=((0,), (0,)),
        horizon=1,
        D=(np.full(2, 0.5),),
        agents=1,
    )
