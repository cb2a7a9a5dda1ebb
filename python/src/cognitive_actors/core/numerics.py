"""Logarithms of probabilities that may be zero."""

from __future__ import annotations

import torch
from torch import Tensor


def floor(x: Tensor) -> float:
    """The smallest probability told apart from zero: the machine epsilon of the precision, as in pymdp 1.0."""
    return torch.finfo(x.dtype).eps


def safe_log(x: Tensor) -> Tensor:
    """ln max(x, floor), elementwise."""
    return x.clamp_min(floor(x)).log_()


def negative_entropy(x: Tensor) -> Tensor:
    """sum of x ln x over the last axis, in nats. x: (..., outcomes) probabilities -> (...)."""
    # log then multiply: torch's xlogy and entr are not vectorised on CPU and take more than twice as long.
    return safe_log(x).mul_(x).sum(dim=-1)
