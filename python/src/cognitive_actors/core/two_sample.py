"""How two windows of a stream differ, in location and in distribution.

The standardised difference of means is Cohen's d (Cohen 1988, Statistical power analysis for the behavioral sciences,
section 2.2). The largest distance between the two distribution functions is the Kolmogorov-Smirnov statistic; its
distribution in the limit of long windows is Kolmogorov's (Smirnov 1948, Ann Math Stat 19:279).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .validation import check_observations

__all__ = ["TwoSample", "kolmogorov_tail", "two_sample"]

#: Larger observations are refused: their squares would not be finite.
LARGEST = 1e150
#: A spread below this, in the units of the data, counts as this: a choice, so that a constant stream has a scale.
SMALLEST_DEVIATION = 1e-9


@dataclass(frozen=True, eq=False)
class TwoSample:
    """How two windows of each stream differ, each (streams,) float64.

    difference: mean of the second minus mean of the first, in pooled standard deviations; ks: the largest distance
    between their distribution functions, 0 to 1; p_value: the probability of one as large were both windows drawn from
    one continuous distribution, in the limit of long windows. Of short windows and with ties, those below a tenth are
    larger than the exact ones, which is the safe side. It is that of a single look and not of one at every step.
    """

    difference: Tensor
    ks: Tensor
    p_value: Tensor


def two_sample(first: Tensor, second: Tensor, smallest_deviation: float = SMALLEST_DEVIATION) -> TwoSample:
    """Compare two windows of each stream.

    first: (streams, n), second: (streams, m), both in the units of the data, with n + m of 3 or more; a pooled
    deviation below ``smallest_deviation`` counts as that. Raises ValueError for other shapes, NaN and infinity.
    """
    check_deviation(smallest_deviation)
    if first.dim() != 2 or second.dim() != 2 or len(first) != len(second):
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise ValueError(f"the windows have shapes {shapes}; write (streams, n) and (streams, m)")
    n, m = first.shape[1], second.shape[1]
    if min(n, m) < 1 or n + m < 3:
        raise ValueError(f"the windows are {n} and {m} long; write 1 or more each, and 3 or more together")
    for name, x in (("first", first), ("second", second)):
        check_observations(name, x.cpu().numpy(), LARGEST)
    first, second = first.to(torch.float64), second.to(torch.float64)
    # From a value of their own, so that equal numbers have no spread whatever their size.
    a, b = first - first[:, :1], second - first[:, :1]
    mean_a, mean_b = a.mean(dim=1), b.mean(dim=1)
    squares = (a - mean_a[:, None]).square().sum(dim=1) + (b - mean_b[:, None]).square().sum(dim=1)
    deviation = (squares / (n + m - 2)).sqrt().clamp_min(smallest_deviation)
    ks = _largest_distance(first, second)
    return TwoSample((mean_b - mean_a) / deviation, ks, kolmogorov_tail(ks * math.sqrt(n * m / (n + m))))


def _largest_distance(first: Tensor, second: Tensor) -> Tensor:
    """max |F1 - F2| over all values of both windows, (streams,)."""
    n, m = first.shape[1], second.shape[1]
    values = torch.cat([first, second], dim=1)
    # Up to and with each value: equal values of both windows rise together. In whole numbers, so that nothing rounds.
    below = [torch.searchsorted(x.sort(dim=1).values, values, right=True) for x in (first, second)]
    return (below[0] * m - below[1] * n).abs().amax(dim=1).to(torch.float64) / (n * m)


def kolmogorov_tail(x: Tensor) -> Tensor:
    """P(K > x) of the Kolmogorov distribution, elementwise, float64, for x of 0 or more.

    K is the limit of sqrt(n m / (n + m)) max|F1 - F2|. Two series that sum to the same, each where it is short
    (Marsaglia, Tsang & Wang 2003, J Stat Softw 8:18, section 1)::

        2 sum_j (-1)^(j-1) exp(-2 j^2 x^2)  =  1 - sqrt(2 pi)/x sum_j exp(-(2j-1)^2 pi^2 / (8 x^2))
    """
    x = x.to(torch.float64)
    # Either has converged to the last bit after five terms on its side of 1.
    j = torch.arange(1, 6, dtype=torch.float64, device=x.device)
    large = x.clamp_min(1)[..., None]
    signs = 2 - 4 * (j % 2 == 0)
    tail = (signs * torch.exp(-2 * (j * large).square())).sum(dim=-1)
    # So small that it is zero to the last bit; smaller ones would divide by zero.
    small = x.clamp(0.02, 1)
    body = torch.exp(-((2 * j - 1) * math.pi / small[..., None]).square() / 8).sum(dim=-1)
    return torch.where(x > 1, tail, 1 - math.sqrt(2 * math.pi) / small * body).clamp(0, 1)


def check_deviation(smallest: float) -> None:
    """Raise ValueError for a scale that is no scale."""
    if not 0 < smallest < math.inf:
        raise ValueError(
            f"smallest_deviation is {smallest}; write a number greater than zero, in the units of the data"
        )
