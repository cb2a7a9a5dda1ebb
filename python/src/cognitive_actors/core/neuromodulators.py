"""Five neuromodulators as opponent processes, exact in time and batched over agents.

An impulse p on a modulator raises its primary process a at once; the primary recruits a slower opponent o of the other
sign, driven through c with strength kappa; use strengthens the opponent and disuse weakens it. Per modulator::

    level   = clip(b + a - o, 0, 1)                                      lambda = ln 2 / half_life, mu = lambda / rho
    da/dt   = -lambda a + lambda sum_j W_j (a_j - o_j) + lambda u        u: constant input
    dc/dt   = -lambda c + kappa^ lambda u                                kappa^: kappa at the start of the input
    do/dt   = mu (c - o)
    dk/dt   = -nu (kappa - kappa0)
    impulse: a += p;  c += kappa p;  kappa += min(1, eta |p|) (kappa_max - kappa)

Between events this is linear with constant coefficients, so a step of any length is one matrix product with a matrix
exponential, and two steps of one second equal one of two. Clipping happens in the read-out only (or, with
``saturating`` parameters, at impulses).

Source of the process: Solomon & Corbit 1974, An opponent-process theory of motivation, Psychol Rev 81:119. For one
impulse without coupling the opponent's closed form, with r = kappa mu / (lambda - mu), is
``y(t) / p = exp(-lambda t) - r (exp(-mu t) - exp(-lambda t))``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import batched
from .modulator_bounds import CrossingBounds
from .modulator_flow import ModulatorFlow
from .modulator_parameters import (
    GUIDE,
    MODULATORS,
    OPPONENT_PROCESS,
    ModulatorError,
    ModulatorParameters,
    ThresholdRule,
    parameter_set,
)

__all__ = [
    "GUIDE",
    "MODULATORS",
    "OPPONENT_PROCESS",
    "ModulatorError",
    "ModulatorParameters",
    "ModulatorState",
    "Neuromodulators",
    "ThresholdRule",
    "impulse_vector",
    "parameter_set",
]

#: A clock within this fraction of a rule period from a look counts as having reached it, so that the rounding of
#: added-up times decides nothing.
_GRID_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class ModulatorState:
    """State of N agents. float64, (N, 5) unless said otherwise, dimensionless."""

    primary: Tensor  #: a
    drive: Tensor  #: c, what the opponent follows
    opponent: Tensor  #: o
    gain: Tensor  #: kappa
    input: Tensor  #: u, constant since it was set
    input_gain: Tensor  #: kappa when the input was set
    time: Tensor  #: (N,) seconds, each agent's own clock
    armed: Tensor  #: (N, R) bool, whether a threshold rule may fire


class _Constants:
    """The parameters as tensors on one device."""

    def __init__(self, parameters: ModulatorParameters, device: torch.device) -> None:
        def tensor(x: Any) -> Tensor:
            return torch.tensor(x, dtype=torch.float64, device=device)

        rules = parameters.rules
        self.baseline = tensor(parameters.baseline)
        self.gain_rest, self.gain_max = tensor(parameters.opponent_gain), tensor(parameters.gain_max)
        self.gain_rate = tensor(parameters.gain_rate)
        self.flow = ModulatorFlow(parameters, device)
        self.source = torch.tensor([MODULATORS.index(r.source) for r in rules], dtype=torch.int64, device=device)
        self.sign = tensor([1.0 if r.direction == "up" else -1.0 for r in rules])
        self.threshold, self.hysteresis = tensor([r.threshold for r in rules]), tensor([r.hysteresis for r in rules])
        self.event = torch.tensor([r.rearm == "event" for r in rules], dtype=torch.bool, device=device)
        kicks = np.zeros((len(rules), 5))
        for i, rule in enumerate(rules):
            kicks[i, MODULATORS.index(rule.target)] = rule.impulse
        self.kicks = tensor(kicks)
        crossing = tuple(r for r in rules if r.rearm == "crossing")
        self.bounds = CrossingBounds(parameters, crossing, device) if crossing else None


class Neuromodulators:
    """The dynamics under one set of parameters. Every method is pure: state in, new state out."""

    def __init__(self, parameters: ModulatorParameters = OPPONENT_PROCESS) -> None:
        self.parameters = parameters
        self.period = parameters.rule_period / parameters.time_scale
        self._constants: dict[torch.device, _Constants] = {}

    def initial(self, n: int, time: float | Tensor = 0.0, device: torch.device | str | None = None) -> ModulatorState:
        """State of ``n`` agents at baseline, with their clocks (seconds, one number or (n,)) at ``time``."""
        clock = torch.as_tensor(time, dtype=torch.float64, device=device)
        if clock.shape not in ((), (n,)) or not clock.isfinite().all():
            raise ModulatorError(f"time has shape {tuple(clock.shape)}; write one finite number or ({n},) of them")
        clock = clock.expand(n).clone()
        constants = self._on(clock.device)
        # No two fields share memory: an owner of a large state writes rows of it in place.
        primary, drive, opponent, held = (clock.new_zeros((n, 5)) for _ in range(4))
        gain, input_gain = (constants.gain_rest.expand(n, 5).clone() for _ in range(2))
        armed = constants.event | (self._margin(constants.baseline[None], constants) <= 0)
        return ModulatorState(primary, drive, opponent, gain, held, input_gain, clock, armed.expand(n, -1).clone())

    def baseline(self, device: torch.device | str = "cpu") -> Tensor:
        """(5,) resting levels, float64."""
        return torch.tensor(self.parameters.baseline, dtype=torch.float64, device=device)

    def levels(self, state: ModulatorState) -> Tensor:
        """(N, 5) levels in [0, 1]."""
        return self._raw_levels(state, self._on(state.time.device)).clamp(0.0, 1.0)

    def impulse(self, state: ModulatorState, amount: Tensor, where: Tensor | None = None) -> ModulatorState:
        """Add an impulse, (5,) for all agents or (N, 5), dimensionless; then let the threshold rules look.

        ``where`` (N,) bool names the agents to which the event happens; the others stay as they are. All rules look
        at the same state, and what they send is added afterwards, so their order does not matter. An event rule looks
        at every agent to which the event happens, a crossing rule only if the impulse is not all zero, so that an
        impulse of zero changes nothing there. Raises ModulatorError for a wrong shape or an impulse that is not
        finite.
        """
        amount = _checked("impulse", amount, state)
        constants = self._on(state.time.device)
        looking = constants.event
        if where is not None:
            amount, looking = amount * where[:, None], looking & where[:, None]
        state = self._add(state, amount, constants)
        if not self.parameters.rules:
            return state
        return self._look(state, constants, ((amount != 0).any(dim=1, keepdim=True) & ~constants.event) | looking)

    def hold(self, state: ModulatorState, u: Tensor) -> ModulatorState:
        """Hold a constant input, (5,) or (N, 5), dimensionless, from now on until the next call; zero ends it.

        Without coupling the level settles at b + u (1 - kappa), with kappa as it is now.
        Raises ModulatorError for a wrong shape or an input that is not finite.
        """
        return replace(state, input=_checked("input", u, state).clone(), input_gain=state.gain.clone())

    def advance(self, state: ModulatorState, seconds: float | Tensor) -> ModulatorState:
        """Let time pass: ``seconds`` >= 0, one number or one per agent (N,).

        Crossing rules look at every multiple of ``rule_period`` of each agent's clock, wherever the calls begin and
        end, so any division of a time span gives the same state. Raises ModulatorError for a step that is negative,
        not finite or of the wrong shape.
        """
        elapsed = _checked_seconds(seconds, state)
        end = state.time + elapsed
        bounds = self._on(state.time.device).bounds
        if bounds is None:
            return self._flow(state, elapsed, end)
        z, w = _stacked(state)
        passed = self._flow(state, elapsed, end, z, w)
        if bounds.all_quiet(z, w, state.armed):
            return passed
        first = torch.floor(state.time / self.period + _GRID_TOLERANCE) + 1
        last = torch.floor(end / self.period + _GRID_TOLERANCE)
        due = first <= last
        if not due.any():
            return passed
        walking = torch.nonzero(due & ~bounds.quiet(z, w, state.armed)).flatten()
        return self._walk(state, passed, walking, first[walking], last[walking])

    def to_arrays(self, state: ModulatorState) -> dict[str, np.ndarray]:
        """The state as numpy arrays by name, equal to the bit."""
        return batched.to_arrays(state)

    def from_arrays(self, arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> ModulatorState:
        """The state that :meth:`to_arrays` wrote. Raises ValueError, naming the array, for any that does not fit."""
        return batched.from_arrays(self.initial(0, device=device), arrays)

    def _on(self, device: torch.device) -> _Constants:
        if device not in self._constants:
            self._constants[device] = _Constants(self.parameters, device)
        return self._constants[device]

    def _raw_levels(self, state: ModulatorState, constants: _Constants) -> Tensor:
        return constants.baseline + state.primary - state.opponent

    def _margin(self, levels: Tensor, constants: _Constants) -> Tensor:
        """(N, R) how far each rule's source is beyond its threshold; positive is beyond."""
        return constants.sign * (levels[:, constants.source] - constants.threshold)

    def _add(self, state: ModulatorState, amount: Tensor, constants: _Constants) -> ModulatorState:
        primary, opponent = state.primary + amount, state.opponent
        if self.parameters.saturating:
            untouched = amount == 0
            before = self._raw_levels(state, constants)
            after = (before + amount).clamp(0.0, 1.0)
            amount = torch.where(untouched, 0.0, after - before)
            primary = torch.where(untouched, state.primary, after - constants.baseline + opponent)
            # The subtraction of the baseline rounds; what it lost goes into the opponent, so that the level reads
            # back as exactly the clipped sum.
            opponent = torch.where(untouched, opponent, constants.baseline + primary - after)
        used = (constants.gain_rate * amount.abs()).clamp(max=1.0)
        return replace(
            state,
            primary=primary,
            opponent=opponent,
            drive=torch.addcmul(state.drive, state.gain, amount),
            gain=torch.addcmul(state.gain, used, constants.gain_max - state.gain),
        )

    def _look(self, state: ModulatorState, constants: _Constants, looking: Tensor) -> ModulatorState:
        """Fire the rules that may look ((N, R) bool) and are armed and beyond their threshold."""
        margin = self._margin(self._raw_levels(state, constants), constants)
        fired = state.armed & (margin > 0) & looking
        armed = (state.armed & ~fired) | (looking & (margin < -constants.hysteresis)) | constants.event
        state = replace(state, armed=armed)
        if not fired.any():
            return state
        return self._add(state, fired.to(torch.float64) @ constants.kicks, constants)

    def _flow(
        self,
        state: ModulatorState,
        elapsed: float | Tensor,
        end: Tensor,
        z: Tensor | None = None,
        w: Tensor | None = None,
    ) -> ModulatorState:
        """Let time pass without a look at the rules."""
        if z is None:
            z, w = _stacked(state)
        z, gain = self._on(z.device).flow(z, w, state.gain, elapsed)
        return ModulatorState(
            primary=z[:, :5],
            drive=z[:, 5:10],
            opponent=z[:, 10:],
            gain=gain,
            input=state.input,
            input_gain=state.input_gain,
            time=end,
            armed=state.armed,
        )

    def _walk(
        self, state: ModulatorState, passed: ModulatorState, walking: Tensor, moment: Tensor, last: Tensor
    ) -> ModulatorState:
        """``passed``, with the agents ``walking`` taken from ``state`` to its time with looks at the crossing rules.

        The looks are at the moments (multiples of the period) from ``moment`` to ``last``. Agents of which the bounds
        say that nothing can change any more, or not before the end, leave and go to the end in one step.
        """
        constants = self._on(state.time.device)
        bounds = constants.bounds
        assert bounds is not None
        part, end = _select(state, walking), passed.time[walking]
        while len(walking):
            arrival = moment * self.period
            part = self._look(self._flow(part, arrival - part.time, arrival), constants, ~constants.event)
            quiet, ahead = bounds.outlook(*_stacked(part), part.armed, self.period)
            on = ~quiet & (moment + ahead <= last)
            if not on.all():
                leaving, arrived = _select(part, ~on), end[~on]
                passed = _insert(passed, walking[~on], self._flow(leaving, arrived - leaving.time, arrived))
                part, walking, end = _select(part, on), walking[on], end[on]
                moment, last, ahead = moment[on], last[on], ahead[on]
            if len(walking):
                # One stride for all that go on keeps the matrix exponential shared; a power of two, cached.
                stride = 2.0 ** math.floor(math.log2(float(ahead.min())))
                # A clock so far from zero that single periods are below its resolution must still move on.
                moment = moment + max(stride, 2 * float(moment.abs().max()) * torch.finfo(moment.dtype).eps)
        return passed


def impulse_vector(delta: Mapping[str, float], device: torch.device | str = "cpu") -> Tensor:
    """(5,) impulse from amounts by name, e.g. ``{"dopamine": 0.2}``; modulators not named receive zero.

    Raises ModulatorError for a name that is no modulator and for an amount that is not a finite number.
    """
    amounts = [0.0] * len(MODULATORS)
    for name, value in delta.items():
        if name not in MODULATORS:
            raise ModulatorError(f"{name!r} is no modulator; write one of {', '.join(MODULATORS)}")
        try:
            amount = float(value)
        except (TypeError, ValueError):
            amount = math.nan
        if not math.isfinite(amount):
            raise ModulatorError(f"the impulse on {name} is {value!r}; write a finite number")
        amounts[MODULATORS.index(name)] = amount
    return torch.tensor(amounts, dtype=torch.float64, device=device)


def _checked(label: str, value: Tensor, state: ModulatorState) -> Tensor:
    """``value`` as finite float64 (N, 5) on the state's device."""
    x = torch.as_tensor(value, dtype=torch.float64, device=state.time.device)
    if x.shape != (5,) and x.shape != state.primary.shape:
        raise ModulatorError(
            f"{label} has shape {tuple(x.shape)}; write (5,) for all agents or {tuple(state.primary.shape)}"
        )
    if not math.isfinite(float(x.sum())):
        for index in torch.nonzero(~torch.isfinite(x)).tolist():
            where = MODULATORS[index[-1]] + (f" of agent {index[0]}" if len(index) > 1 else "")
            raise ModulatorError(f"{label} on {where} is {float(x[tuple(index)])}; write a finite number")
    return x.expand_as(state.primary)


def _checked_seconds(seconds: float | Tensor, state: ModulatorState) -> float | Tensor:
    if isinstance(seconds, Tensor) and seconds.ndim:
        x = seconds.to(device=state.time.device, dtype=torch.float64)
        if x.shape != state.time.shape:
            raise ModulatorError(
                f"seconds has shape {tuple(x.shape)}; write one number or {tuple(state.time.shape)}, one per agent"
            )
        bad = ~((x >= 0) & (x < math.inf))
        if bad.any():
            i = int(torch.nonzero(bad)[0])
            raise ModulatorError(f"seconds[{i}] is {float(x[i])}; write a finite time step of 0 or more")
        return x
    step = float(seconds)
    if not 0 <= step < math.inf:
        raise ModulatorError(f"seconds is {step}; write a finite time step of 0 or more")
    return step


def _stacked(state: ModulatorState) -> tuple[Tensor, Tensor | None]:
    """z = (a, c, o) as (N, 15) and the inputs (u, kappa^ u) as (N, 10), None where every input is zero."""
    z = torch.cat((state.primary, state.drive, state.opponent), dim=1)
    if not torch.count_nonzero(state.input):
        return z, None
    return z, torch.cat((state.input, state.input_gain * state.input), dim=1)


def _select(state: ModulatorState, agents: Tensor) -> ModulatorState:
    return ModulatorState(**{f.name: getattr(state, f.name)[agents] for f in fields(ModulatorState)})


def _insert(state: ModulatorState, agents: Tensor, part: ModulatorState) -> ModulatorState:
    """``state`` with what time changes taken from ``part`` for these agents; their clocks agree already."""
    changed = ("primary", "drive", "opponent", "gain", "armed")
    return replace(state, **{name: getattr(state, name).index_copy(0, agents, getattr(part, name)) for name in changed})
