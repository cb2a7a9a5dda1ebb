"""Logarithms of probabilities that may be zero."""

from __future__ import annotations

import torch
from torch import Tensor

#: From this many numbers per agent on, the wide form of :func:`x_log_x` pays.
WIDE = 512


def floor(x: Tensor) -> float:
    """The smallest probability told apart from zero: the machine epsilon of the precision."""
    return torch.finfo(x.dtype).eps


def safe_log(x: Tensor) -> Tensor:
    """ln max(x, floor), elementwise."""
    return x.clamp_min(floor(x)).log_()


def x_log_x(x: Tensor, *, wide: bool = False) -> Tensor:
    """x ln x, elementwise, for probabilities; zero at zero.

    wide: by way of log1p, a quarter faster on thousands of numbers and slower on a few. The way is the caller's to
    choose, by the model and not by the batch, as the last bit may differ.
    """
    # log then multiply: torch's xlogy and entr are not vectorised on CPU and take more than twice as long.
    if wide:
        return x.sub(1).clamp_min_(floor(x) / 2 - 1).log1p_().mul_(x)
    return safe_log(x).mul_(x)


def negative_entropy(x: Tensor) -> Tensor:
    """sum of x ln x over the last axis, in nats. x: (..., outcomes) probabilities -> (...)."""
    return x_log_x(x).sum(dim=-1)
