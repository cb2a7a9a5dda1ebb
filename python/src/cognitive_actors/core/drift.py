"""Change detection, stream by stream: a cumulative sum for small lasting shifts, two windows for any change of shape.

:class:`CusumDetector` learns mean and standard deviation of a stream from its first observations (Welford 1962,
Technometrics 4:419), freezes them, and sums up how far what follows lies from there (Page 1954, Biometrika 41:100;
the tabular form is that of Montgomery 2009, Introduction to statistical quality control, section 9.1)::

    z = (x - mean) / deviation
    upper <- max(0, upper + z - k)          lower <- max(0, lower - z - k)          alarm while either exceeds h

:class:`WindowComparison` holds the first observations of a stream beside its last ones and compares the two, by
their means and by their distribution functions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from . import batched
from .two_sample import LARGEST, SMALLEST_DEVIATION, TwoSample, check_deviation, two_sample
from .validation import check_observations

__all__ = [
    "CusumDetector",
    "CusumParameters",
    "CusumState",
    "Detection",
    "WindowComparison",
    "WindowState",
    "average_run_length",
]

T = TypeVar("T")


@dataclass(frozen=True)
class CusumParameters:
    """Parameters of the cumulative sums.

    k: reference value in standard deviations, half of the shift to find quickly: .5 for a shift of one (Montgomery).
    h: decision interval in standard deviations; with k = .5, 5 gives a false alarm about every 465 observations and
        finds a shift of one in about 10 (Montgomery, table 9.3); :func:`average_run_length` tells for others.
    baseline: observations that mean and deviation are learned from: a choice. With few of them false alarms come far
        more often than h promises (Jones, Champ & Rigdon 2004, J Qual Technol 36:95).
    smallest_deviation: a smaller learned deviation counts as this, in the units of the data: a choice.
    """

    k: float = 0.5
    h: float = 5.0
    baseline: int = 100
    smallest_deviation: float = SMALLEST_DEVIATION

    def __post_init__(self) -> None:
        if not 0 <= self.k < math.inf:
            raise ValueError(f"cusum k is {self.k}; write standard deviations, 0 or more")
        if not 0 < self.h < math.inf:
            raise ValueError(f"cusum h is {self.h}; write standard deviations greater than zero")
        if self.baseline != int(self.baseline) or self.baseline < 2:
            raise ValueError(f"cusum baseline is {self.baseline}; write a whole number of observations, 2 or more")
        check_deviation(self.smallest_deviation)


@dataclass(frozen=True, eq=False)
class CusumState:
    """State of N streams, each (N,), float64 unless said otherwise.

    count: int64 observations in the baseline; mean, squares: their mean and their sum of squared distances from it;
    upper, lower: the cumulative sums, in standard deviations; upper_run, lower_run: int64 observations since the sum
    was last zero, which date the change once there is an alarm (Montgomery's N+ and N-).
    """

    count: Tensor
    mean: Tensor
    squares: Tensor
    upper: Tensor
    lower: Tensor
    upper_run: Tensor
    lower_run: Tensor


@dataclass(frozen=True, eq=False)
class Detection:
    """What an update found, each (streams,), or (streams, steps) of a scan.

    z: float64 standardised observations, zero where none was judged; learning: bool, the observation went into the
    baseline; rise, fall: bool, the upper or the lower sum is above h.
    """

    z: Tensor
    learning: Tensor
    rise: Tensor
    fall: Tensor

    @property
    def alarm(self) -> Tensor:
        """Bool, of the same shape: a rise or a fall."""
        return self.rise | self.fall


class CusumDetector:
    """Two-sided standardised CUSUM. Every method is pure and deterministic: state in, new state out.

    An alarm lasts until the sum falls back by itself or the stream is restarted or reset.
    """

    def __init__(self, parameters: CusumParameters | None = None) -> None:
        self.parameters = CusumParameters() if parameters is None else parameters

    def initial(self, n: int, device: torch.device | str | None = None) -> CusumState:
        """``n`` streams that have seen nothing."""
        zero, none = (
            torch.zeros(n, dtype=torch.float64, device=device),
            torch.zeros(n, dtype=torch.int64, device=device),
        )
        return CusumState(none, zero, zero.clone(), zero.clone(), zero.clone(), none.clone(), none.clone())

    def known(self, mean: Tensor, deviation: Tensor) -> CusumState:
        """Streams whose mean and standard deviation, both (streams,), are known and not learned.

        Raises ValueError for numbers that are not finite and for a negative deviation.
        """
        for label, x in (("mean", mean), ("deviation", deviation)):
            check_observations(label, x.detach().cpu().numpy(), LARGEST)
        for place in torch.nonzero(deviation < 0).tolist():
            raise ValueError(f"deviation{place} is {float(deviation[place[0]])}; write 0 or more")
        state, n = self.initial(len(mean), mean.device), int(self.parameters.baseline)
        squares = deviation.to(torch.float64).square() * (n - 1)
        return replace(state, count=torch.full_like(state.count, n), mean=mean.to(torch.float64), squares=squares)

    def deviation(self, state: CusumState) -> Tensor:
        """(streams,) standard deviation of the baseline so far (from n - 1), at least ``smallest_deviation``."""
        variance = state.squares / (state.count - 1).clamp_min(1)
        return variance.sqrt().clamp_min(self.parameters.smallest_deviation)

    def update(self, state: CusumState, x: Tensor, present: Tensor | None = None) -> tuple[CusumState, Detection]:
        """Take one observation per stream into the baseline or, once that is full, into the sums.

        x: (streams,) in the units of the data; present: (streams,) bool, by default all: a stream without an
        observation is left as it is, and what x holds for it is not looked at. Raises ValueError for another shape,
        NaN, infinity and magnitudes beyond LARGEST, with the place.
        """
        x, present = _observations(x, present, state.count.shape)
        p = self.parameters
        learning = present & (state.count < p.baseline)
        judged = present & ~learning
        count = state.count + learning
        away = x - state.mean
        mean = torch.where(learning, state.mean + away / count.clamp_min(1), state.mean)
        squares = torch.where(learning, state.squares + away * (x - mean), state.squares)
        z = torch.where(judged, away / self.deviation(state), 0.0)
        upper = torch.where(judged, (state.upper + z - p.k).clamp_min(0), state.upper)
        lower = torch.where(judged, (state.lower - z - p.k).clamp_min(0), state.lower)
        upper_run = torch.where(upper > 0, state.upper_run + judged, 0)
        lower_run = torch.where(lower > 0, state.lower_run + judged, 0)
        after = CusumState(count, mean, squares, upper, lower, upper_run, lower_run)
        return after, Detection(z, learning, upper > p.h, lower > p.h)

    def scan(self, state: CusumState, x: Tensor, present: Tensor | None = None) -> tuple[CusumState, Detection]:
        """Take several observations per stream, first to last, as that many calls of :meth:`update` would.

        x: (streams, steps); present: bool of the same shape -> the last state, and what each step found.
        """
        streams = len(state.count)
        if x.dim() != 2 or len(x) != streams:
            raise ValueError(
                f"x has shape {tuple(x.shape)}; write ({streams}, steps), a row of observations per stream"
            )
        x, present = _observations(x, present, x.shape)
        found = []
        for t in range(x.shape[1]):
            state, detection = self.update(state, x[:, t], present[:, t])
            found.append(detection)
        if not found:
            nothing = x.new_zeros(streams, 0)
            return state, Detection(nothing, *(nothing.bool() for _ in range(3)))
        columns = zip(*((d.z, d.learning, d.rise, d.fall) for d in found), strict=True)
        return state, Detection(*(torch.stack(column, dim=1) for column in columns))

    def restart(self, state: CusumState, streams: Tensor) -> CusumState:
        """Sums of zero for some streams, whose baseline is kept: after an alarm that was looked into.

        streams: (streams,) bool, or int64 positions.
        """
        return self._cleared(state, streams, ("upper", "lower", "upper_run", "lower_run"))

    def reset(self, state: CusumState, streams: Tensor) -> CusumState:
        """Some streams as if they had seen nothing, to learn a new baseline. streams as in :meth:`restart`."""
        return self._cleared(state, streams, tuple(vars(state)))

    def _cleared(self, state: CusumState, streams: Tensor, names: tuple[str, ...]) -> CusumState:
        return replace(state, **{name: _zero_at(getattr(state, name), streams) for name in names})

    def to_arrays(self, state: CusumState) -> dict[str, np.ndarray]:
        """The state as numpy arrays by name, equal to the bit."""
        return batched.to_arrays(state)

    def from_arrays(self, arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> CusumState:
        """The state that :meth:`to_arrays` wrote. Raises ValueError, naming the array, for any that does not fit."""
        return _restored(self.initial(0, device), arrays, signed=("mean",))


def average_run_length(k: float, h: float, shift: float = 0.0) -> float:
    """Observations until the two-sided CUSUM alarms, on average, when the mean is off by ``shift`` deviations.

    For independent normal observations whose mean and deviation are known; shift 0 gives the time between false alarms.
    Siegmund's approximation (1985, Sequential analysis, section 2.3; as in Montgomery, equation 9.6): within some
    percent of the truth. inf where it is too large for a number.
    """

    def one_sided(drift: float) -> float:
        b = h + 1.166
        y = 2 * drift * b
        if abs(y) < 1e-5:
            return b * b * (1 - y / 3)
        return (math.expm1(-y) + y) / (2 * drift * drift) if y > -700 else math.inf

    rate = 1 / one_sided(shift - k) + 1 / one_sided(-shift - k)
    return 1 / rate if rate > 0 else math.inf


@dataclass(frozen=True, eq=False)
class WindowState:
    """The windows of N streams; places not yet filled are zero.

    reference: (N, n) and recent: (N, m) float64, the latter a ring; count: int64 (N,) observations seen so far.
    """

    reference: Tensor
    recent: Tensor
    count: Tensor


class WindowComparison:
    """The first ``reference`` observations of each stream beside its last ``recent`` ones after those.

    Both lengths are choices: long windows see smaller changes, and a short recent one sees them sooner.
    """

    def __init__(self, reference: int = 100, recent: int = 50) -> None:
        for name, length in (("reference", reference), ("recent", recent)):
            if length != int(length) or length < 2:
                raise ValueError(f"{name} is {length}; write a whole number of observations, 2 or more")
        self.reference, self.recent = int(reference), int(recent)

    def initial(self, n: int, device: torch.device | str | None = None) -> WindowState:
        """``n`` streams that have seen nothing."""
        zero = torch.zeros(n, self.reference + self.recent, dtype=torch.float64, device=device)
        count = torch.zeros(n, dtype=torch.int64, device=device)
        return WindowState(zero[:, : self.reference].clone(), zero[:, self.reference :].clone(), count)

    def update(self, state: WindowState, x: Tensor, present: Tensor | None = None) -> WindowState:
        """Take one observation per stream. Arguments and errors as in :meth:`CusumDetector.update`."""
        x, present = _observations(x, present, state.count.shape)
        place = torch.where(
            state.count < self.reference,
            state.count,
            self.reference + (state.count - self.reference) % self.recent,
        )
        here = (torch.arange(self.reference + self.recent, device=x.device) == place[:, None]) & present[:, None]
        reference = torch.where(here[:, : self.reference], x[:, None], state.reference)
        recent = torch.where(here[:, self.reference :], x[:, None], state.recent)
        return WindowState(reference, recent, state.count + present)

    def ready(self, state: WindowState) -> Tensor:
        """(streams,) bool: both windows are full."""
        return state.count >= self.reference + self.recent

    def compare(self, state: WindowState, smallest_deviation: float = SMALLEST_DEVIATION) -> TwoSample:
        """The recent window against the reference; no difference, at a p-value of 1, for streams not yet ready."""
        found, ready = two_sample(state.reference, state.recent, smallest_deviation), self.ready(state)
        return TwoSample(
            torch.where(ready, found.difference, 0.0),
            torch.where(ready, found.ks, 0.0),
            torch.where(ready, found.p_value, 1.0),
        )

    def reset(self, state: WindowState, streams: Tensor) -> WindowState:
        """Some streams as if they had seen nothing. streams: (streams,) bool, or int64 positions."""
        return WindowState(*(_zero_at(x, streams) for x in (state.reference, state.recent, state.count)))

    def to_arrays(self, state: WindowState) -> dict[str, np.ndarray]:
        """The state as numpy arrays by name, equal to the bit."""
        return batched.to_arrays(state)

    def from_arrays(self, arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> WindowState:
        """The state that :meth:`to_arrays` wrote. Raises ValueError, naming the array, for any that does not fit."""
        return _restored(self.initial(0, device), arrays, signed=("reference", "recent"))


def _observations(x: Tensor, present: Tensor | None, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Observations in float64, zero where there is none, and where there are any."""
    for name, given in (("x", x), ("present", present)):
        if given is not None and given.shape != shape:
            raise ValueError(f"{name} has shape {tuple(given.shape)}; write {tuple(shape)}, one per observation")
    present = torch.ones_like(x, dtype=torch.bool) if present is None else present
    x = torch.where(present, x.to(torch.float64), 0.0)
    check_observations("x", x.cpu().numpy(), LARGEST)
    return x, present


def _zero_at(x: Tensor, streams: Tensor) -> Tensor:
    cleared = x.clone()
    cleared[streams] = 0
    return cleared


def _restored(like: T, arrays: Mapping[str, np.ndarray], signed: tuple[str, ...]) -> T:
    """A stored state whose numbers are finite and, but for those of ``signed`` arrays, not negative."""
    state = batched.from_arrays(like, arrays)
    for name, x in arrays.items():
        check_observations(f"array {name!r}", x, np.finfo(np.float64).max)
        for place in np.argwhere(x < 0) if name not in signed else ():
            raise ValueError(f"array {name!r}{place.tolist()} is {x[tuple(place)]}; write 0 or more")
    return state
