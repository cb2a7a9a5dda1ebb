"""Mean and standard error of numbers that come in batches, in constant memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass
class Moments:
    """What is known of one measure. NaN stands for undefined and is left out.

    Batches are merged as in Chan, Golub and LeVeque 1979 (Stanford STAN-CS-79-773), which does not lose digits where
    the spread is small.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    means: list[float | None] = field(default_factory=list)

    def add(self, batch: np.ndarray) -> None:
        """Take in a batch (n,) and remember its mean."""
        x = batch[~np.isnan(batch)].astype(np.float64)
        if not len(x):
            self.means.append(None)
            return
        mean = float(x.mean())
        self.means.append(mean)
        away, before, self.count = mean - self.mean, self.count, self.count + len(x)
        self.mean += away * len(x) / self.count
        self.squares += float(((x - mean) ** 2).sum()) + away**2 * before * len(x) / self.count

    def figures(self) -> dict[str, Any]:
        """mean and standard_error over everything (None where undefined), and the mean of every batch."""
        spread = math.sqrt(self.squares / (self.count - 1) / self.count) if self.count > 1 else None
        return {"mean": self.mean if self.count else None, "standard_error": spread, "per_trial": self.means}
