"""What a probability array must satisfy, with errors that name the array, the index and what to write.

Every array checked here carries a leading batch axis; where it is longer than one, the error names the agent too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

#: Columns may miss one by this much: the rounding of float32 over some hundred entries.
SUM_TOLERANCE = 1e-5


class ModelError(ValueError):
    """A generative model that cannot be used. The message names the array, the index and the remedy."""


def check_shape(label: str, x: np.ndarray, expected: Sequence[int], meaning: str) -> None:
    """Raise unless ``x`` without its batch axis has the expected shape."""
    if tuple(x.shape[1:]) != tuple(expected):
        raise ModelError(f"{label} has shape {tuple(x.shape[1:])}; write {tuple(expected)} ({meaning})")


def check_finite(label: str, x: np.ndarray) -> None:
    """Raise at the first entry that is NaN or infinite."""
    bad = np.argwhere(~np.isfinite(x))
    if len(bad):
        raise ModelError(f"{label}{_place(x, bad[0])} is {x[tuple(bad[0])]}; write a finite number")


def check_observations(label: str, x: np.ndarray, largest: float) -> None:
    """Raise ValueError at the first number that is NaN, infinite or larger than ``largest`` in magnitude.

    Observations come from outside, so the fault is theirs and not a model's. The index in the message is the whole one.
    """
    bad = np.argwhere(~(np.abs(x.astype(np.float64)) <= largest))
    if len(bad):
        place = list(map(int, bad[0]))
        raise ValueError(f"{label}{place} is {x[tuple(bad[0])]}; write a finite number of magnitude up to {largest:g}")


def check_counts(label: str, x: np.ndarray) -> None:
    """Raise at the first Dirichlet count that is not positive."""
    bad = np.argwhere(x <= 0)
    if len(bad):
        raise ModelError(f"{label}{_place(x, bad[0])} is {x[tuple(bad[0])]:g}; write a count greater than zero")


def check_distribution(label: str, x: np.ndarray) -> None:
    """Raise unless ``x`` (batch, outcomes, ...) is non-negative and sums to one over its second axis."""
    bad = np.argwhere(x < 0)
    if len(bad):
        raise ModelError(f"{label}{_place(x, bad[0])} is {x[tuple(bad[0])]:g}; write a probability between 0 and 1")
    sums = x.sum(axis=1)
    bad = np.argwhere(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(bad):
        column = _place(x, [bad[0][0], ":", *bad[0][1:]])
        raise ModelError(
            f"{label}{column} sums to {sums[tuple(bad[0])]:.6g}, not 1; write {x.shape[1]} probabilities that sum to 1"
        )


def check_batch(sizes: dict[str, int]) -> None:
    """Raise unless all arrays (label -> length of the batch axis) are shared or for the same number of agents."""
    own = {label: n for label, n in sizes.items() if n != 1}
    if not own:
        return
    first, agents = next(iter(own.items()))
    for label, n in own.items():
        if n == 0:
            raise ModelError(f"{label} has a batch axis of length 0; write 1 for all agents together, or one per agent")
        if n != agents:
            raise ModelError(
                f"{label} is for {n} agents and {first} for {agents};"
                " write batch axes of length 1 or of one number of agents"
            )


def _place(x: np.ndarray, index: Iterable[object]) -> str:
    """An index without its batch axis, and the agent where every agent has its own."""
    agent, *rest = [str(i) for i in index] or [""]
    return (f"[{', '.join(rest)}]" if rest else "") + (f" of agent {agent}" if len(x.shape) and x.shape[0] > 1 else "")
