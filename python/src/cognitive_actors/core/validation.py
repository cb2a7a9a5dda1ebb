"""What a probability array must satisfy, with errors that name the array, the index and what to write."""

from __future__ import annotations

from collections.abc import Sequence

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
        raise ModelError(f"{label}{_index(bad[0])} is {x[tuple(bad[0])]}; write a finite number")


def check_counts(label: str, x: np.ndarray) -> None:
    """Raise at the first Dirichlet count that is not positive."""
    bad = np.argwhere(x <= 0)
    if len(bad):
        raise ModelError(
            f"{label}{_index(bad[0][1:])} is {x[tuple(bad[0])]:g}; Dirichlet counts are greater than zero"
        )


def check_distribution(label: str, x: np.ndarray) -> None:
    """Raise unless ``x`` (batch, outcomes, ...) is non-negative and sums to one over its second axis."""
    bad = np.argwhere(x < 0)
    if len(bad):
        raise ModelError(
            f"{label}{_index(bad[0][1:])} is {x[tuple(bad[0])]:g}; write a probability between 0 and 1"
        )
    sums = x.sum(axis=1)
    bad = np.argwhere(np.abs(sums - 1) > SUM_TOLERANCE)
    if len(bad):
        column = "[" + ", ".join([":", *map(str, bad[0][1:])]) + "]"
        raise ModelError(
            f"{label}{column} sums to {sums[tuple(bad[0])]:.6g}, not 1;"
            f" write {x.shape[1]} probabilities that sum to 1"
        )


def _index(index: np.ndarray) -> str:
    return "[" + ", ".join(map(str, index)) + "]"
