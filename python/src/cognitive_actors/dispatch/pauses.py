"""Pauses of a loop that has nothing to do, or whose store is away: longer each time, and of random length, so that many
loops do not ask all at once."""

from __future__ import annotations

import random

from .task import Retries, pause


class Pauses:
    """first: seconds of the first pause, at most; most: seconds that they grow to. Half of each is left to chance."""

    def __init__(self, first: float, most: float) -> None:
        self._growth = Retries(first=min(first, most), most=most, jitter=0.5)
        self._taken = 0

    def next(self) -> float:
        """Seconds of the pause to take now."""
        self._taken += 1
        return pause(self._growth, self._taken, random.random())

    def reset(self) -> None:
        """Begin with the first again."""
        self._taken = 0
