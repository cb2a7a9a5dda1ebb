"""Exact propagation of the opponent process between events: z(t + dt) = exp(M dt) z + the share of constant inputs.

z = (primary a, drive c, opponent o) is (N, 15); w = (u, kappa^ u), the constant inputs to a and c, is (N, 10). Inputs
that stay constant join the state in one augmented linear system, of which the matrix exponential is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .modulator_parameters import ModulatorParameters

__all__ = ["ModulatorFlow"]

_CACHED_STEPS = 256
_SERIES_TERMS = 4
_EXPONENTIAL_TERMS = 20


@dataclass(frozen=True)
class _Step:
    """What a step of one length does to z, the inputs' share in it, and the share of kappa - kappa0 that is kept."""

    flow: Tensor  #: (15, 15)
    inflow: Tensor  #: (10, 15)
    kept: Tensor  #: (5,)

    def apply(self, z: Tensor, w: Tensor | None) -> Tensor:
        return z @ self.flow if w is None else torch.addmm(w @ self.inflow, z, self.flow)


class ModulatorFlow:
    """The linear system of one parameter set on one device, and the steps it took last."""

    def __init__(self, parameters: ModulatorParameters, device: torch.device) -> None:
        system = np.zeros((25, 25))
        system[:15, :15] = parameters.generator()
        system[0:5, 15:20] = system[5:10, 20:25] = np.diag(parameters.rates)
        norm = float(np.abs(system).sum(axis=1).max())
        #: A power of two of seconds over which the system moves by less than a thousandth; inf where it never does.
        self._unit = 2.0 ** math.floor(math.log2(1e-3 / norm)) if norm else math.inf
        self._system = torch.tensor(system, device=device)
        self._gain_rest = torch.tensor(parameters.opponent_gain, dtype=torch.float64, device=device)
        self._gain_decay = torch.tensor(parameters.gain_rates, device=device)
        self._steps: dict[float, _Step] = {}

    def __call__(self, z: Tensor, w: Tensor | None, gain: Tensor, elapsed: float | Tensor) -> tuple[Tensor, Tensor]:
        """z and kappa (N, 5) after ``elapsed`` seconds, one number or one per agent (N,). w is None for no input."""
        if isinstance(elapsed, Tensor) and bool((elapsed == elapsed[:1]).all()):
            elapsed = float(elapsed[0]) if len(elapsed) else 0.0
        if isinstance(elapsed, Tensor):
            kept = torch.exp(-elapsed[:, None] * self._gain_decay)
            return self._each(z, w, elapsed), torch.lerp(self._gain_rest, gain, kept)
        step = self._step(elapsed)
        return step.apply(z, w), torch.lerp(self._gain_rest, gain, step.kept)

    def _step(self, seconds: float) -> _Step:
        """The step of this length, from a cache of those used last."""
        step = self._steps.pop(seconds, None)
        if step is None:
            flow = _exponential(seconds * self._system)[:15].T.contiguous()
            step = _Step(flow[:15], flow[15:], torch.exp(-seconds * self._gain_decay))
            while len(self._steps) >= _CACHED_STEPS:
                self._steps.pop(next(iter(self._steps)), None)
        self._steps[seconds] = step
        return step

    def _each(self, z: Tensor, w: Tensor | None, elapsed: Tensor) -> Tensor:
        """z after a time of its own for each agent.

        The times are taken apart in binary, so that a few exponentials serve them all: one for each power of two, and
        below the smallest, where the exponent is under 1e-3, four terms of the series, which leave less than 1e-17.
        """
        if self._unit == math.inf:
            return z
        whole = torch.trunc(elapsed / self._unit)
        rest = (elapsed - whole * self._unit)[:, None]
        units = whole.to(torch.int64)
        for bit in range(int(units.max()).bit_length()):
            has_bit = ((units >> bit) & 1).bool()
            if has_bit.any():
                z = torch.where(has_bit[:, None], self._step(math.ldexp(self._unit, bit)).apply(z, w), z)
        if not rest.any():
            return z
        size = 15 if w is None else 25
        system = self._system[:size, :size].T
        term = z if w is None else torch.cat((z, w), dim=1)
        for order in range(1, _SERIES_TERMS + 1):
            term = (term @ system) * (rest / order)
            z = z + term[:, :15]
        return z


def _exponential(matrix: Tensor) -> Tensor:
    """exp of one square matrix, to the rounding of float64, by scaling and squaring of its series.

    torch.matrix_exp loses up to 4e-11 where the norm is between 0.01 and 0.1, the steps of a cognitive cycle.
    """
    norm = float(matrix.abs().sum(dim=0).max())
    squarings = max(0, math.ceil(math.log2(norm))) if norm else 0
    scaled = matrix * 2.0**-squarings
    one = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    power = one
    for order in range(_EXPONENTIAL_TERMS, 0, -1):
        power = one + (scaled @ power) / order
    for _ in range(squarings):
        power = power @ power
    return power
