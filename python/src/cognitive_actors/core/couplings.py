"""How neuromodulators set the parameters of active inference.

Every coupling is a factor that equals one at the modulators' baselines, so that an agent at rest behaves exactly as
the plain engine does, and each can be switched off. Signs are those of the sources; the slope ``scale`` and the
cortisol gains are choices, as no source fixes them.

    dopamine        policy precision gamma                 Friston et al. 2014 (Phil Trans R Soc B 369:20130481)
    norepinephrine  transition precision omega (tonic)     Parr & Friston 2018 (Front Comput Neurosci 12:90), table 2
                    forgetting of counts (phasic)          Sales et al. 2019 (PLoS Comput Biol 15:e1006267)
    serotonin       temporal horizon                       Doya 2002 (Neural Netw 15:495)
                    preference precision                   Parr & Friston 2018, table 2
    oxytocin        precision of social modalities         Quattrocki & Friston 2014 (Neurosci Biobehav Rev 47:410)
    cortisol        habit weight, planning depth           Otto et al. 2013 (PNAS 110:20941)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .model import GenerativeModel

DOPAMINE, SEROTONIN, OXYTOCIN, CORTISOL, NOREPINEPHRINE = range(5)

SWITCHES = (
    "policy_precision",
    "transition_precision",
    "forgetting",
    "horizon",
    "preference_precision",
    "social_precision",
    "habits",
    "planning_depth",
)


@dataclass(frozen=True)
class Couplings:
    """Which couplings are on, and their slopes.

    scale: change of level (0..1) that doubles a precision; discount_half_life h0: steps after which a future term
    counts half, at baseline (needed by ``horizon``); forgetting_*: Sales' logistic for alpha (trials remembered);
    habit_gain, depth_gain: change of habit weight and of planning depth (as a fraction) per unit of cortisol.
    """

    policy_precision: bool = True
    transition_precision: bool = True
    forgetting: bool = True
    horizon: bool = True
    preference_precision: bool = False
    social_precision: bool = True
    habits: bool = True
    planning_depth: bool = True
    scale: float = 0.25
    forgetting_min: float = 2.0
    forgetting_max: float = 32.0
    forgetting_midpoint: float = 0.6
    forgetting_slope: float = 8.0
    habit_gain: float = 2.0
    depth_gain: float = 1.0

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"scale is {self.scale}; write a level change greater than 0 that doubles a precision")
        if not 1 < self.forgetting_min <= self.forgetting_max:
            raise ValueError(
                f"forgetting_min is {self.forgetting_min} and forgetting_max {self.forgetting_max};"
                " write trials remembered, greater than 1 and in this order"
            )
        for name in ("forgetting_slope", "habit_gain", "depth_gain"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; write a finite number of 0 or more")

    @classmethod
    def none(cls) -> Couplings:
        """Every coupling off: the plain engine whatever the modulators do."""
        return cls(**dict.fromkeys(SWITCHES, False))

    def switched(self, switches: Mapping[str, bool]) -> Couplings:
        """The same with some switches turned. Raises ValueError for a name that is not a switch."""
        for name in switches:
            if name not in SWITCHES:
                raise ValueError(f"there is no coupling {name!r}; write one of: {', '.join(SWITCHES)}")
        return replace(self, **dict(switches))


@dataclass(frozen=True)
class Modulation:
    """Factors on the plain parameters, each (agents,); all one at baseline."""

    policy_precision: Tensor
    transition_precision: Tensor
    retention: Tensor
    horizon: Tensor
    preference_precision: Tensor
    social_precision: Tensor
    habit_weight: Tensor
    depth: Tensor


@torch.inference_mode()
def modulation(couplings: Couplings, levels: Tensor, baseline: Tensor) -> Modulation:
    """The factors that given levels imply. levels: (agents, 5) in [0, 1]; baseline: (5,)."""
    d = levels - baseline
    one = torch.ones_like(d[:, 0])
    power = torch.exp2(d / couplings.scale)

    def on(switch: bool, value: Tensor) -> Tensor:
        return value if switch else one

    remembered = forgetting_time(couplings, levels[:, NOREPINEPHRINE])
    at_rest = forgetting_time(couplings, baseline[NOREPINEPHRINE])
    cortisol = d[:, CORTISOL]
    factors = {
        "policy_precision": power[:, DOPAMINE],
        "transition_precision": power[:, NOREPINEPHRINE],
        "forgetting": (1 - 1 / remembered) / (1 - 1 / at_rest),
        "horizon": power[:, SEROTONIN],
        "preference_precision": power[:, SEROTONIN],
        "social_precision": power[:, OXYTOCIN],
        "habits": (1 + couplings.habit_gain * cortisol).clamp_min(0),
        "planning_depth": (1 - couplings.depth_gain * cortisol).clamp_min(0),
    }
    names = [f.name for f in fields(Modulation)]
    return Modulation(**{name: on(getattr(couplings, s), factors[s]) for name, s in zip(names, SWITCHES, strict=True)})


def forgetting_time(couplings: Couplings, norepinephrine: Tensor) -> Tensor:
    """Sales' alpha: how many trials counts remember, falling with norepinephrine. Any shape -> the same."""
    c = couplings
    weight = torch.sigmoid(-c.forgetting_slope * (norepinephrine - c.forgetting_midpoint))
    return c.forgetting_min + (c.forgetting_max - c.forgetting_min) * weight


def step_weights(half_life: float, horizon: int, factors: Modulation) -> Tensor | None:
    """How much each step of a policy counts: 2^(-t / (h0 * horizon factor)), zero beyond the planning depth.

    half_life h0 in steps, may be infinite -> (agents, horizon), or None where every step counts fully.
    The first step always counts in full: a discount on all steps alike would be a precision.
    """
    if horizon == 1:
        return None
    depth = (horizon * factors.depth).round().clamp(1, horizon)
    if half_life == float("inf") and bool((depth == horizon).all()):
        return None
    t = torch.arange(horizon, device=depth.device, dtype=depth.dtype)
    discount = torch.exp2(-t / (half_life * factors.horizon[:, None]))
    return discount * (t < depth[:, None])


def modulated_model(model: GenerativeModel, factors: Modulation) -> GenerativeModel:
    """The model as the modulators make it: B sharpened by omega, social A by zeta, C by the preference precision.

    Arrays that no factor touches are the model's own, so a shared model stays shared at baseline.
    """
    changes: dict[str, object] = {}
    if not _all_one(factors.transition_precision):
        changes["B"] = tuple(sharpen(B, factors.transition_precision) for B in model.B)
    if any(m.social for m in model.modalities) and not _all_one(factors.social_precision):
        changes["A"] = tuple(
            sharpen(A, factors.social_precision) if m.social else A
            for A, m in zip(model.A, model.modalities, strict=True)
        )
    if not _all_one(factors.preference_precision):
        weight = factors.preference_precision.to(model.dtype)[:, None, None]
        changes["C"] = tuple(torch.where(weight == 1, C, torch.log_softmax(C * weight, dim=-1)) for C in model.C)
    return replace(model, **changes) if changes else model  # type: ignore[arg-type]


def sharpen(P: Tensor, exponent: Tensor) -> Tensor:
    """P ** exponent, normalised over the second axis. P: (batch, outcomes, ...); exponent: (agents,), > 0.

    Returns (agents, outcomes, ...), or P itself where it is all zeros and ones: no precision changes certainty.
    What is impossible stays so.
    """
    if bool(((P == 0) | (P == 1)).all()):
        return P
    power = exponent.to(P.dtype).clamp(1e-6, 1e6).view(-1, *[1] * (P.dim() - 1))
    # ln 0 is -inf here, not the floor of the logarithm: many floors to a small power would add up to a probability.
    sharpened = torch.softmax(P.log() * power, dim=1)
    # An exponent of one returns the very same bits, whatever the neighbours in the batch have.
    return torch.where(power == 1, P, sharpened)


def phasic_precision(precision: Tensor, prior: Tensor, posterior: Tensor, G: Tensor) -> Tensor:
    """The relative change of policy precision after an observation: phasic dopamine.

    With beta = 1 / gamma: beta' = beta - 1/2 (posterior - prior) . (-G), result (gamma' - gamma) / gamma.
    precision: (agents,); prior, posterior: (agents, policies) before and after the observation; G as prior.
    Positive when what was seen favours the policies that promised most. In (-1, 1]: beta' must stay positive and is
    taken as no less than half of beta. Source: Friston et al. 2014, equation for expected precision; Smith, Friston &
    Whyte 2022 (J Math Psychol 107:102632), table 2; one step of their iteration, from beta at its prior.
    """
    beta = 1 / precision
    updated = beta - 0.5 * ((posterior - prior) * -G).sum(dim=-1)
    return beta / updated.clamp_min(0.5 * beta) - 1


def _all_one(x: Tensor) -> bool:
    return bool((x == 1).all())
