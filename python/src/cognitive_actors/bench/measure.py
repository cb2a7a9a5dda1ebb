"""Paired timing: two ways of doing the same work, in turn, so that a drifting machine touches both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Medians of both, and the median of the ratio first / second of neighbouring runs. Seconds."""

    first: float
    second: float
    ratio: float


def paired(first: Callable[[], object], second: Callable[[], object], rounds: int) -> Pair:
    """Time ``first`` and ``second`` alternately after one warm-up of each."""
    first(), second()
    a, b = [], []
    for _ in range(rounds):
        a.append(seconds(first))
        b.append(seconds(second))
    ratios = [x / y for x, y in zip(a, b, strict=True)]
    return Pair(statistics.median(a), statistics.median(b), statistics.median(ratios))


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
