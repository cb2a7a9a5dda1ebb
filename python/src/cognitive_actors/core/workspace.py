"""The global workspace: contents compete by salience for a few places, ignite all or none, and are broadcast.

Salience of content i, every factor of which is one when the modulators are at baseline and the content is new::

    B_i = 1 - exp(-S_i / kappa_B)      surprise S_i in nats: KL(posterior || prior), or -ln p(o) without a posterior
    T_i in [0, 1]                      relevance to the present goals
    A_i = |valence_i| in [0, 1]        affect
    s_i = (w_B g_B B_i + w_T g_T T_i + w_A g_A A_i) 2^(-age_i / h_R) (1 - h_i)
    g_B = 1 + k_N (NE - b_N),  g_T = 1 + k_D (DA - b_D)
    g_A = 1 + k_C threat_i (CORT - b_C) + k_O social_i (OT - b_O)                        gains never below zero

At an ignition moment, at least ``t_ref`` after the last, a content ignites if s_i >= theta and a place is free or
held by one weaker by more than ``delta``; it keeps its place while s_i >= theta - delta. Igniting raises its own
habituation, h <- h + eta (1 - h), which halves every ``h_H`` seconds from when it left, so that others get their turn.

Sources: Baars 1988, A cognitive theory of consciousness (specialists, limited capacity, broadcast); Dehaene, Sergent
& Changeux 2003, PNAS 100:8520 (all-or-none access, refractory period); Dehaene & Changeux 2005, PLoS Biol 3:e141
(ignition threshold under ascending neuromodulators, ignited contents block others); Itti & Baldi 2005 (Bayesian
surprise draws attention).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from . import batched
from .modulator_parameters import MODULATORS

__all__ = ["Competition", "GlobalWorkspace", "Signals", "WorkspaceParameters", "WorkspaceState"]

_DOPAMINE, _OXYTOCIN, _CORTISOL, _NOREPINEPHRINE = (
    MODULATORS.index(name) for name in ("dopamine", "oxytocin", "cortisol", "norepinephrine")
)
#: Clocks that differ by less count as equal: the rounding of added-up seconds.
_CLOCK_TOLERANCE = 1e-6


@dataclass(frozen=True)
class WorkspaceParameters:
    """Parameters of salience and competition. The theory orders them; where no source is named, the number is a choice.

    w_B, w_T, w_A: weights of surprise, relevance and affect.
    k_N, k_D: gain of surprise per unit of norepinephrine, of relevance per unit of dopamine, above baseline.
    k_C, k_O: gain of affect per unit of cortisol (threats) and of oxytocin (social contents), above baseline.
    kappa_B: nats of surprise at which B reaches 1 - 1/e.
    h_R: seconds after which an old content counts half.
    eta: habituation that an ignition adds, as a share of what is left; h_H: its half-life in seconds. Together they
        make an inhibition of return of .3 to 3 s, the range found in visual search.
    theta0: ignition threshold at baseline; threshold_modulation: its relative fall per unit of norepinephrine (that
        it falls: Dehaene & Changeux 2005).
    delta: hysteresis, the lead a newcomer needs and the loss a content may take before it leaves.
    t_ref: seconds between ignition moments: the attentional blink, 200 to 500 ms (Dehaene et al. 2003).
    capacity: contents held at once, 4 +- 1 (Cowan 2001).
    """

    w_B: float = 0.4
    w_T: float = 0.4
    w_A: float = 0.2
    k_N: float = 1.0
    k_D: float = 1.0
    k_C: float = 1.5
    k_O: float = 1.5
    kappa_B: float = 1.0
    h_R: float = 2.0
    eta: float = 0.7
    h_H: float = 1.5
    theta0: float = 0.35
    threshold_modulation: float = 0.5
    delta: float = 0.1
    t_ref: float = 0.2
    capacity: int = 4

    def __post_init__(self) -> None:
        for name, low, high, remedy in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"workspace {name} is {value}; write {remedy}")
        if self.capacity != int(self.capacity) or self.capacity < 1:
            raise ValueError(f"workspace capacity is {self.capacity}; write a whole number of contents, 1 or more")
        lowest = self.theta0 * (1 - self.threshold_modulation)
        if not self.delta < lowest:
            raise ValueError(
                f"workspace delta is {self.delta}; write less than theta0 (1 - threshold_modulation) = {lowest:g},"
                " or contents without any salience could keep their place"
            )

    def at_threshold(self, theta0: float) -> WorkspaceParameters:
        """The same with another ignition threshold; where delta is too large for it, it is cut to half of the lowest
        value that norepinephrine takes the threshold to."""
        lowest = theta0 * (1 - self.threshold_modulation)
        return replace(self, theta0=theta0, delta=self.delta if self.delta < lowest else max(lowest / 2, 0.0))


_POSITIVE = 1e-9
_LARGE = 1e9
_RANGES: tuple[tuple[str, float, float, str], ...] = (
    *((name, 0.0, _LARGE, "a weight of 0 or more") for name in ("w_B", "w_T", "w_A")),
    *((name, -_LARGE, _LARGE, "a finite number") for name in ("k_N", "k_D", "k_C", "k_O")),
    ("kappa_B", _POSITIVE, _LARGE, "nats greater than zero"),
    ("h_R", _POSITIVE, math.inf, "seconds greater than zero, or inf for contents that do not age"),
    ("eta", 0.0, 1.0, "a share between 0 and 1"),
    ("h_H", _POSITIVE, _LARGE, "seconds greater than zero"),
    ("theta0", _POSITIVE, _LARGE, "a salience greater than zero"),
    ("threshold_modulation", 0.0, 0.999, "a share between 0 and 0.999"),
    ("delta", 0.0, _LARGE, "a salience of 0 or more"),
    ("t_ref", 0.0, _LARGE, "seconds, 0 or more"),
)


@dataclass(frozen=True, eq=False)
class Signals:
    """What K candidate contents bring to N workspaces, each (N, K) or broadcast to it.

    surprise: nats, >= 0 (inf allowed); relevance: [0, 1]; valence: [-1, 1]; threat, social: bool; age: seconds since
    the content came up; present: bool, false for an empty slot. Numbers outside their range count as its nearest end.
    """

    surprise: Tensor
    relevance: Tensor
    valence: Tensor
    threat: Tensor
    social: Tensor
    age: Tensor
    present: Tensor


@dataclass(frozen=True, eq=False)
class WorkspaceState:
    """State of N workspaces with K slots for candidates. float64 unless said otherwise."""

    habituation: Tensor  #: (N, K) in [0, 1]
    active: Tensor  #: (N, K) bool, the contents held
    strength: Tensor  #: (N, K) salience of the contents held, zero elsewhere
    last_ignition: Tensor  #: (N,) seconds, -inf before the first
    time: Tensor  #: (N,) seconds, each agent's own clock


@dataclass(frozen=True, eq=False)
class Competition:
    """Outcome of one competition. ignited: newly admitted, active: all that are held now, both (N, K) bool."""

    state: WorkspaceState
    ignited: Tensor
    active: Tensor
    threshold: Tensor  #: (N,) the ignition threshold theta


class GlobalWorkspace:
    """The dynamics under one set of parameters. Every method is pure and deterministic: state in, new state out."""

    def __init__(self, parameters: WorkspaceParameters | None = None) -> None:
        self.parameters = WorkspaceParameters() if parameters is None else parameters

    def initial(
        self, n: int, k: int, time: float | Tensor = 0.0, device: torch.device | str | None = None
    ) -> WorkspaceState:
        """``n`` empty workspaces with ``k`` slots for candidates, their clocks (seconds, one or (n,)) at ``time``."""
        clock = torch.as_tensor(time, dtype=torch.float64, device=device).expand(n).clone()
        zero = clock.new_zeros(n, k)
        return WorkspaceState(zero, zero.bool(), zero.clone(), torch.full_like(clock, -math.inf), clock)

    def salience(self, state: WorkspaceState, signals: Signals, levels: Tensor, baseline: Tensor) -> Tensor:
        """(N, K) salience of the candidates now, zero for empty slots.

        levels: (N, 5) and baseline: (5,) of the modulators. Raises ValueError, naming signal and place, for NaN.
        """
        p = self.parameters
        away = levels - baseline
        g_B = (p.w_B * (1 + p.k_N * away[:, _NOREPINEPHRINE, None])).clamp_min(0)
        g_T = (p.w_T * (1 + p.k_D * away[:, _DOPAMINE, None])).clamp_min(0)
        threat = (p.k_C * away[:, _CORTISOL, None]) * signals.threat
        social = (p.k_O * away[:, _OXYTOCIN, None]) * signals.social
        g_A = (1 + threat + social).clamp_min(0)
        salience = g_B * -torch.expm1(signals.surprise.clamp_min(0) * (-1 / p.kappa_B))
        salience = salience + g_T * signals.relevance.clamp(0, 1)
        salience = salience + p.w_A * g_A * signals.valence.abs().clamp_max(1)
        salience = salience * torch.exp2(signals.age.clamp_min(0) * (-1 / p.h_R)) * (1 - state.habituation)
        salience = torch.where(signals.present, salience, 0.0)
        if salience.isnan().any():
            _raise_for_nan(signals, levels)
        return salience

    def advance(self, state: WorkspaceState, seconds: float | Tensor) -> WorkspaceState:
        """Let time pass, one number of seconds or (N,): the habituation of contents that are not held decays.

        Raises ValueError for a step that is negative (by more than the rounding of clocks) or not finite.
        """
        elapsed = torch.as_tensor(seconds, dtype=torch.float64, device=state.time.device)
        if not ((elapsed >= -_CLOCK_TOLERANCE) & (elapsed < math.inf)).all():
            raise ValueError(f"seconds is {seconds}; write a finite time step of 0 or more")
        elapsed = elapsed.clamp_min(0)
        kept = torch.exp2(elapsed * (-1 / self.parameters.h_H))[..., None]
        # A content recovers once it has left: one that recovered in its place would come to hold it against all others.
        habituation = torch.where(state.active, state.habituation, state.habituation * kept)
        return replace(state, habituation=habituation, time=state.time + elapsed)

    def threshold(self, levels: Tensor, baseline: Tensor) -> Tensor:
        """(N,) ignition threshold theta0 (1 - threshold_modulation (NE - b_N))."""
        p = self.parameters
        away = levels[:, _NOREPINEPHRINE] - baseline[_NOREPINEPHRINE]
        return p.theta0 * (1 - p.threshold_modulation * away)

    def compete(
        self,
        state: WorkspaceState,
        salience: Tensor,
        levels: Tensor,
        baseline: Tensor,
        priority: Tensor | None = None,
    ) -> Competition:
        """Who is held in the workspace at ``state.time``.

        First the contents below theta - delta leave. If ``t_ref`` has passed since the last ignition, those at or
        above theta are taken in order of falling salience; each gets a free place or, when there is none left, the
        place of the weakest content held if it is stronger than that by more than delta. Equal saliences go by
        ``priority`` (N, K) or (K,), lowest first, and else by slot; of equally weak contents the last leaves first.
        """
        p = self.parameters
        theta = self.threshold(levels, baseline)
        held = state.active & (salience >= theta[:, None] - p.delta)
        ready = state.time - state.last_ignition >= p.t_ref - _CLOCK_TOLERANCE
        newcomers = (salience >= theta[:, None]) & ready[:, None] & ~held
        if salience.shape[1] <= p.capacity:
            ignited, active = newcomers, held | newcomers
        else:
            ignited, active = self._contest(salience, held, newcomers, priority)
        moment = ignited.any(dim=1)
        after = WorkspaceState(
            habituation=torch.where(ignited, state.habituation + p.eta * (1 - state.habituation), state.habituation),
            active=active,
            strength=torch.where(active, salience, 0.0),
            last_ignition=torch.where(moment, state.time, state.last_ignition),
            time=state.time,
        )
        return Competition(after, ignited, active, theta)

    def _contest(
        self, salience: Tensor, held: Tensor, newcomers: Tensor, priority: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Who of the newcomers gets in, and who is held then, where not all fit."""
        order = _strongest_first(salience, priority)
        s, held, newcomers = salience.gather(1, order), held.gather(1, order), newcomers.gather(1, order)
        free = self.parameters.capacity - held.sum(dim=1, keepdim=True)
        rank = newcomers.cumsum(dim=1)
        ignited = newcomers & (rank <= free)
        # The i-th newcomer without a free place meets the i-th weakest content. Newcomers get weaker and contents
        # stronger, so after the first that fails all others do.
        weakness = held.flip(1).cumsum(dim=1).flip(1)
        leaving = torch.zeros_like(held)
        for i in range(1, self.parameters.capacity + 1):
            challenger, defender = newcomers & (rank == free + i), held & (weakness == i)
            strong = torch.where(challenger, s, -math.inf).amax(dim=1, keepdim=True)
            weak = torch.where(defender, s, math.inf).amin(dim=1, keepdim=True)
            wins = strong > weak + self.parameters.delta
            if not wins.any():
                break
            ignited, leaving = ignited | (challenger & wins), leaving | (defender & wins)
        active = (held & ~leaving) | ignited
        back = torch.zeros_like(held)
        return back.scatter(1, order, ignited), back.scatter(1, order, active)

    def to_arrays(self, state: WorkspaceState) -> dict[str, np.ndarray]:
        """The state as numpy arrays by name, equal to the bit."""
        return batched.to_arrays(state)

    def from_arrays(self, arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> WorkspaceState:
        """The state that :meth:`to_arrays` wrote. Raises ValueError, naming the array, for any that does not fit."""
        slots = arrays["habituation"].shape[-1] if "habituation" in arrays else 0
        return batched.from_arrays(self.initial(0, slots, device=device), arrays)


def _strongest_first(salience: Tensor, priority: Tensor | None) -> Tensor:
    """(N, K) slots in order of (-salience, priority or slot)."""
    if priority is None:
        return torch.sort(salience, dim=1, descending=True, stable=True).indices
    first = torch.sort(priority.expand_as(salience), dim=1, stable=True).indices
    second = torch.sort(salience.gather(1, first), dim=1, descending=True, stable=True).indices
    return first.gather(1, second)


def _raise_for_nan(signals: Signals, levels: Tensor) -> None:
    for name, x in ((f.name, getattr(signals, f.name)) for f in fields(Signals)):
        for index in torch.nonzero(torch.isnan(x)).tolist():
            raise ValueError(f"signal {name}{index} is NaN; write a number, or mark the slot as not present")
    raise ValueError(f"modulator levels hold NaN or infinity (largest {float(levels.max())}); write levels in [0, 1]")
