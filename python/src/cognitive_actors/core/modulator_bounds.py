"""When can a threshold rule possibly change? Bounds that let a long interval be crossed in few steps.

A crossing rule looks at the level at fixed moments. Most looks are in vain, and the linear system says so in advance:
with z* the fixed point under the present input, a level deviates by ``row . exp(M t) (z - z*)``, and each coefficient
of that row has a largest and a smallest value over all t >= 0, computed once. They bound the level for ever, and the
same for its derivative bounds how soon it can reach a threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .modulator_parameters import MODULATORS, ModulatorParameters, ThresholdRule

__all__ = ["CrossingBounds"]

#: Added to every bound: far above the rounding of a step, far below any meaningful difference of levels.
_ROUNDING = 1e-12
#: Ratio of neighbouring times at which the coefficients are sampled. Between samples a parabola bounds them.
_RATIO = 1.05
_FAR = 2.0**40


class CrossingBounds:
    """Bounds on how far the source of each crossing rule can come beyond its threshold.

    ``margin`` is sign * (level - threshold), positive beyond the threshold. An armed rule is quiet while its margin
    stays <= 0, a rule that fired while its margin stays >= -hysteresis.
    """

    def __init__(self, parameters: ModulatorParameters, rules: Sequence[ThresholdRule], device: torch.device) -> None:
        generator = parameters.generator()
        rows, at_rest = np.zeros((len(rules), 15)), np.zeros(len(rules))
        for i, rule in enumerate(rules):
            source, sign = MODULATORS.index(rule.source), 1.0 if rule.direction == "up" else -1.0
            rows[i, source], rows[i, 10 + source] = sign, -sign
            at_rest[i] = sign * (parameters.baseline[source] - rule.threshold)
        high, low = _extremes(rows, generator)
        fast_high, fast_low = _extremes(rows @ generator, generator)

        def tensor(x: np.ndarray) -> Tensor:
            return torch.tensor(np.ascontiguousarray(x), dtype=torch.float64, device=device)

        # sup of row . d over all times: d+ high - d- low = d+ (high - low) + d low
        self._above = tensor((high - low).T), tensor(high.T), tensor(low.T)
        self._speed = tensor((fast_high - fast_low).T), tensor(fast_high.T), tensor(fast_low.T)
        self._rows, self._at_rest = tensor(rows.T), tensor(at_rest)
        self._hysteresis = tensor(np.array([r.hysteresis for r in rules]))
        self._fixed_point = tensor(_fixed_point(generator, parameters.rates).T)
        self._columns = tensor(np.array([i for i, r in enumerate(parameters.rules) if r.rearm == "crossing"])).long()
        self._every_rule = len(rules) == len(parameters.rules)

    def all_quiet(self, z: Tensor, w: Tensor | None, armed: Tensor) -> bool:
        """Whether every rule of every agent is armed and can never fire: one quick look before a step.

        z: (N, 15) primary, drive, opponent; w: (N, 10) constant inputs or None; armed: (N, R) over all rules.
        """
        deviation, center = self._deviation(z, w)
        return bool(((center + self._sup(deviation) <= 0) & self._armed(armed)).all())

    def quiet(self, z: Tensor, w: Tensor | None, armed: Tensor) -> Tensor:
        """(N,) whether none of an agent's rules can fire or be armed at any later time."""
        deviation, center = self._deviation(z, w)
        stays_below = center + self._sup(deviation) <= 0
        stays_beyond = center + self._inf(deviation) >= -self._hysteresis
        return torch.where(self._armed(armed), stays_below, stays_beyond).all(dim=1)

    def outlook(self, z: Tensor, w: Tensor | None, armed: Tensor, period: float) -> tuple[Tensor, Tensor]:
        """As :meth:`quiet`, and (N,) how many periods on the first moment lies at which something can change."""
        deviation, center = self._deviation(z, w)
        is_armed = self._armed(armed)
        stays_below = center + self._sup(deviation) <= 0
        stays_beyond = center + self._inf(deviation) >= -self._hysteresis
        span, high, low = self._speed
        rising = deviation.clamp_min(0) @ span + deviation @ low
        falling = deviation.clamp_min(0) @ span - deviation @ high
        margin = center + deviation @ self._rows
        gap = torch.where(is_armed, -margin, margin + self._hysteresis) - _ROUNDING
        speed = torch.where(is_armed, rising, falling)
        ahead = torch.where(speed * period * _FAR > gap, gap / (speed * period), _FAR)
        quiet = torch.where(is_armed, stays_below, stays_beyond).all(dim=1)
        return quiet, torch.floor(ahead).clamp(1, _FAR).amin(dim=1)

    def _armed(self, armed: Tensor) -> Tensor:
        return armed if self._every_rule else armed[:, self._columns]

    def _deviation(self, z: Tensor, w: Tensor | None) -> tuple[Tensor, Tensor]:
        """z - z*, and the margins (R,) or (N, R) at z*."""
        if w is None:
            return z, self._at_rest
        fixed = w @ self._fixed_point
        return z - fixed, self._at_rest + fixed @ self._rows

    def _sup(self, deviation: Tensor) -> Tensor:
        span, _, low = self._above
        return torch.addmm(deviation @ low, deviation.clamp_min(0), span) + _ROUNDING

    def _inf(self, deviation: Tensor) -> Tensor:
        span, high, _ = self._above
        return deviation @ high - deviation.clamp_min(0) @ span - _ROUNDING


def _extremes(rows: np.ndarray, generator: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper and lower bounds (R, 15) of ``rows @ exp(M t)`` over all t >= 0, for a stable or zero M."""
    norm = float(np.abs(generator).sum(axis=1).max())
    if norm == 0:
        return rows, rows
    slowest = -float(np.linalg.eigvals(generator).real.max())
    first, final = 1e-3 / norm, 50 / slowest
    count = math.ceil(math.log(final / first) / math.log(_RATIO))
    times = np.concatenate(([0.0], np.geomspace(first, final, count + 1)))
    flow = torch.matrix_exp(torch.tensor(times[:, None, None] * generator)).numpy()
    values = rows @ flow
    bend = np.abs(rows @ generator @ generator @ flow)
    # Between two samples a curve exceeds them by at most gap^2 / 8 of its largest second derivative there; the
    # derivative varies little over so short a gap, and twice its value at the ends covers that.
    gaps = np.diff(times)[:, None, None]
    slack = (gaps**2 / 8 * 2 * np.maximum(bend[:-1], bend[1:])).max(axis=0)
    # After the last sample everything has decayed to zero.
    return np.maximum(values.max(axis=0) + slack, 0), np.minimum(values.min(axis=0) - slack, 0)


def _fixed_point(generator: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """(15, 10) matrix that takes constant inputs (u, kappa^ u) to the state z* at which they hold the system."""
    inflow = np.zeros((15, 10))
    inflow[0:5, 0:5] = inflow[5:10, 5:10] = np.diag(rates)
    return -np.linalg.solve(generator, inflow) if rates.any() else inflow
