"""How unusual a vector is beside those seen before: Mahalanobis distance from a running Gaussian.

Each stream keeps the count n, the mean and three sums over what it has seen, with y = x - mean::

    S = sum y y'        c = sum |y|^2 y        q = sum |y|^4

S is the scatter. Beside it, c and q are all that is needed to follow sum |y|^4 when the mean moves, and that sum is all
that the shrinkage of Ledoit & Wolf (2004, J Multivar Anal 88:365, section 3.2) needs beside the scatter: the covariance
is the one that their estimator gives for all vectors at once, without any of them being kept. With |M|^2 = tr M'M / p
for p dimensions::

    m = tr S / (n p)      d^2 = |S/n - m I|^2      b^2 = min(d^2, (q/p - n |S/n|^2) / n^2)      rho = b^2 / d^2
    covariance = rho m I + (1 - rho) S/n + (loading m + smallest_variance) I

The last term keeps it positive definite where features are exact copies or constant. Under a Gaussian the squared
distance D^2 follows chi-square with p degrees of freedom (Mahalanobis 1936), so that P(chi^2 > D^2) = Q(p/2, D^2/2),
the regularised incomplete gamma function. That takes mean and covariance as known: with few vectors seen, D^2 is larger
and the probability of normal vectors smaller than that.

The target of the shrinkage is one variance for all features, so these should be of similar scale. Moving the sums to
another mean: Chan, Golub & LeVeque 1983, Am Stat 37:242, and for higher powers Pebay 2008 (SAND2008-6212).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import batched
from .validation import check_observations

__all__ = ["Anomaly", "AnomalyDetector", "AnomalyState", "chi_square_tail"]

#: Larger features are refused: their fourth powers would not be finite.
LARGEST = 1e60
#: With less than this on its diagonal, rounding could keep a covariance from being positive definite.
_SMALLEST_LOADING = 1e-9


@dataclass(frozen=True, eq=False)
class AnomalyState:
    """What N streams of p features have seen; float64 but for the count."""

    count: Tensor  #: int64 (N,)
    mean: Tensor  #: (N, p)
    scatter: Tensor  #: (N, p, p), S
    cubic: Tensor  #: (N, p), c
    quartic: Tensor  #: (N,), q


@dataclass(frozen=True, eq=False)
class Anomaly:
    """How unusual each vector is, each (streams, rows).

    distance: Mahalanobis, 0 or more, zero while a stream is not ready; p_value: the probability of a distance as large,
    1 while not ready, and 0 where it is too small for a number (squared distances above some 1400).
    """

    distance: Tensor
    p_value: Tensor


class AnomalyDetector:
    """Scores of vectors, apart from learning from them: state in, new state out, and scoring changes nothing."""

    def __init__(
        self, features: int, *, minimum: int | None = None, loading: float = 1e-6, smallest_variance: float = 1e-12
    ) -> None:
        """``features`` per vector. All others are choices.

        minimum: vectors that a stream must have seen before it scores, by default twice the features and 10 at least.
        loading: share of the mean variance that is added to each; smallest_variance: what is added besides, in squared
        units of the data. Raises ValueError for numbers out of range.
        """
        if features != int(features) or features < 1:
            raise ValueError(f"features is {features}; write a whole number, 1 or more")
        minimum = max(10, 2 * features) if minimum is None else minimum
        if minimum != int(minimum) or minimum < 2:
            raise ValueError(f"minimum is {minimum}; write a whole number of vectors, 2 or more")
        if not _SMALLEST_LOADING <= loading < math.inf:
            raise ValueError(f"loading is {loading}; write a share of the mean variance, {_SMALLEST_LOADING:g} or more")
        if not 0 < smallest_variance < math.inf:
            raise ValueError(f"smallest_variance is {smallest_variance}; write a number greater than zero")
        self.features, self.minimum = int(features), int(minimum)
        self.loading, self.smallest_variance = loading, smallest_variance

    def initial(self, n: int, device: torch.device | str | None = None) -> AnomalyState:
        """``n`` streams that have seen nothing."""
        zero = torch.zeros(n, self.features, dtype=torch.float64, device=device)
        scatter = zero.new_zeros(n, self.features, self.features)
        count = torch.zeros(n, dtype=torch.int64, device=device)
        return AnomalyState(count, zero, scatter, zero.clone(), zero.new_zeros(n))

    def update(self, state: AnomalyState, x: Tensor, present: Tensor | None = None) -> AnomalyState:
        """Learn from vectors, as many per stream as are present; their order does not matter but for rounding.

        x: (streams, rows, features); present: bool (streams, rows), by default all; what x holds where nothing is
        present is not looked at. Raises ValueError for other shapes, NaN, infinity and magnitudes beyond LARGEST.
        """
        x, present = self._vectors(state, x, present)
        return _merged(state, _sums(x, present))

    def ready(self, state: AnomalyState) -> Tensor:
        """(streams,) bool: enough vectors have been seen."""
        return state.count >= self.minimum

    def shrinkage(self, state: AnomalyState) -> Tensor:
        """(streams,) rho, the weight of the common variance, 0 to 1; 1 where there is nothing to shrink."""
        n, p = state.count.clamp_min(1).to(torch.float64), self.features
        S = state.scatter / n[:, None, None]
        size = S.square().sum(dim=(1, 2)) / p
        centred = S - _diagonal(_mean_variance(S), p)
        d2 = centred.square().sum(dim=(1, 2)) / p
        b2 = ((state.quartic / p / n - size) / n).clamp_min(0)
        return torch.where(d2 > 0, torch.minimum(b2, d2) / d2, 1.0)

    def covariance(self, state: AnomalyState) -> Tensor:
        """(streams, features, features), shrunk and loaded; positive definite."""
        n, p = state.count.clamp_min(1).to(torch.float64), self.features
        S, rho = state.scatter / n[:, None, None], self.shrinkage(state)
        m = _mean_variance(S)
        added = rho * m + self.loading * m + self.smallest_variance
        return (1 - rho)[:, None, None] * S + _diagonal(added, p)

    def score(self, state: AnomalyState, x: Tensor, present: Tensor | None = None) -> Anomaly:
        """How unusual vectors are beside what their stream has learned. Arguments and errors as in :meth:`update`.

        Where nothing is present, the distance is 0 and the probability 1.
        """
        x, present = self._vectors(state, x, present)
        factor = torch.linalg.cholesky(self.covariance(state))
        away = (x - state.mean[:, None, :]).transpose(1, 2)
        squared = torch.linalg.solve_triangular(factor, away, upper=False).square().sum(dim=1)
        squared = torch.where(present & self.ready(state)[:, None], squared, 0.0)
        return Anomaly(squared.sqrt(), chi_square_tail(squared, self.features))

    def _vectors(self, state: AnomalyState, x: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
        streams = len(state.count)
        if x.dim() != 3 or len(x) != streams or x.shape[2] != self.features:
            raise ValueError(f"x has shape {tuple(x.shape)}; write ({streams}, rows, {self.features})")
        if present is None:
            present = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        elif present.shape != x.shape[:2]:
            raise ValueError(f"present has shape {tuple(present.shape)}; write {tuple(x.shape[:2])}, one per vector")
        x = torch.where(present[..., None], x.to(torch.float64), 0.0)
        check_observations("x", x.cpu().numpy(), LARGEST)
        return x, present

    def to_arrays(self, state: AnomalyState) -> dict[str, np.ndarray]:
        """The state as numpy arrays by name, equal to the bit."""
        return batched.to_arrays(state)

    def from_arrays(self, arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> AnomalyState:
        """The state that :meth:`to_arrays` wrote. Raises ValueError, naming the array, for any that does not fit."""
        state = batched.from_arrays(self.initial(0, device), arrays)
        for name, x in arrays.items():
            check_observations(f"array {name!r}", x, np.finfo(np.float64).max)
        for name, y in (
            ("count", state.count),
            ("scatter", state.scatter.diagonal(dim1=1, dim2=2)),
            ("quartic", state.quartic),
        ):
            for place in torch.nonzero(y < 0).tolist():
                raise ValueError(f"array {name!r} is negative for stream {place[0]}; the stored state is damaged")
        return state


def chi_square_tail(x: Tensor, degrees: int) -> Tensor:
    """P(chi^2 > x) with that many degrees of freedom, elementwise, float64, for x of 0 or more: Q(degrees/2, x/2)."""
    x = x.to(torch.float64)
    tail: Tensor = torch.special.gammaincc(torch.full_like(x, degrees / 2), x / 2)
    return tail


def _diagonal(values: Tensor, p: int) -> Tensor:
    """(streams,) -> (streams, p, p), each a multiple of the identity."""
    return values[:, None, None] * torch.eye(p, dtype=values.dtype, device=values.device)


def _mean_variance(S: Tensor) -> Tensor:
    return S.diagonal(dim1=1, dim2=2).mean(dim=1)


def _sums(x: Tensor, present: Tensor) -> AnomalyState:
    """Count, mean and sums of the rows that are present."""
    count = present.sum(dim=1)
    mean = x.sum(dim=1) / count.clamp_min(1)[:, None]
    y = (x - mean[:, None, :]) * present[..., None]
    lengths = y.square().sum(dim=2)
    scatter = y.transpose(1, 2) @ y
    return AnomalyState(count, mean, scatter, (lengths[..., None] * y).sum(dim=1), lengths.square().sum(dim=1))


def _merged(one: AnomalyState, other: AnomalyState) -> AnomalyState:
    """Both as if seen by one."""
    count = one.count + other.count
    share = other.count.to(torch.float64) / count.clamp_min(1)
    mean = one.mean + (other.mean - one.mean) * share[:, None]
    a, b = _about(one, mean), _about(other, mean)
    return AnomalyState(count, mean, a.scatter + b.scatter, a.cubic + b.cubic, a.quartic + b.quartic)


def _about(state: AnomalyState, mean: Tensor) -> AnomalyState:
    """The same vectors' sums about another point: y becomes y + d, and sum y is zero."""
    n, d = state.count.to(torch.float64), state.mean - mean
    trace, dd = state.scatter.diagonal(dim1=1, dim2=2).sum(dim=1), d.square().sum(dim=1)
    Sd = (state.scatter @ d[:, :, None])[:, :, 0]
    scatter = state.scatter + n[:, None, None] * d[:, :, None] * d[:, None, :]
    cubic = state.cubic + 2 * Sd + (trace + n * dd)[:, None] * d
    quartic = state.quartic + 4 * (state.cubic * d).sum(dim=1) + 4 * (Sd * d).sum(dim=1)
    return AnomalyState(state.count, mean, scatter, cubic, quartic + 2 * trace * dd + n * dd.square())
