"""Parameters of the five neuromodulators: validated, immutable, and two named sets of them.

The equations they enter are in :mod:`cognitive_actors.core.neuromodulators`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = [
    "GUIDE",
    "MODULATORS",
    "OPPONENT_PROCESS",
    "PARAMETER_SETS",
    "ModulatorError",
    "ModulatorParameters",
    "ThresholdRule",
    "parameter_set",
]

#: The order of the modulators on the last axis of every array of levels, impulses and inputs.
MODULATORS = ("dopamine", "serotonin", "oxytocin", "cortisol", "norepinephrine")


class ModulatorError(ValueError):
    """A parameter, impulse or input that cannot be used. The message names it and says what to write."""


@dataclass(frozen=True)
class ThresholdRule:
    """When the level of ``source`` passes ``threshold``, ``target`` receives an impulse.

    source, target: names out of :data:`MODULATORS`.
    threshold: level in (0, 1); passed upwards (``level > threshold``) or downwards (``level < threshold``).
    impulse: amount added to the target's primary process, dimensionless.
    hysteresis: with ``rearm="crossing"`` the rule fires once and again only after the level went back beyond
        the threshold by more than this much, so that a level that lingers there fires once and not at every look.
    rearm: ``"crossing"`` as above; ``"event"`` fires at every impulse call that leaves the level beyond the
        threshold, and never between impulses.
    """

    source: str
    threshold: float
    target: str
    impulse: float
    direction: Literal["up", "down"] = "up"
    hysteresis: float = 0.05
    rearm: Literal["crossing", "event"] = "crossing"

    def __post_init__(self) -> None:
        for role in ("source", "target"):
            if getattr(self, role) not in MODULATORS:
                raise ModulatorError(
                    f"rule {role} is {getattr(self, role)!r}, which is no modulator; write one of {_names()}"
                )
        for role, value, known in (
            ("direction", self.direction, ("up", "down")),
            ("rearm", self.rearm, ("crossing", "event")),
        ):
            if value not in known:
                raise ModulatorError(f"rule {role} is {value!r}; write {known[0]!r} or {known[1]!r}")
        if not 0 < self.threshold < 1:
            raise ModulatorError(f"rule threshold is {self.threshold}; write a level between 0 and 1")
        if not math.isfinite(self.impulse):
            raise ModulatorError(f"rule impulse is {self.impulse}; write a finite number")
        room = self.threshold if self.direction == "up" else 1 - self.threshold
        if not 0 <= self.hysteresis < room:
            raise ModulatorError(
                f"rule hysteresis is {self.hysteresis}; write 0 or more and less than {room:g},"
                f" or a rule at {self.threshold:g} {self.direction} could never be armed again"
            )


@dataclass(frozen=True)
class ModulatorParameters:
    """Parameters of the opponent process, one number per modulator in the order of :data:`MODULATORS`.

    baseline (5): resting level b, in [0, 1].
    half_life (5): of the primary process, seconds, > 0; infinite for all five or for none (inf: nothing decays).
    opponent_ratio (5): rho >= 1, half-life of the opponent over that of the primary process.
    opponent_gain (5): kappa0 >= 0, resting strength of the opponent (1 compensates an impulse fully in time).
    gain_max (5): >= kappa0, the strength that use drives towards.
    gain_rate (5): eta >= 0, fraction of the way to gain_max per unit of impulse.
    gain_half_life (5): seconds, > 0 or inf: forgetting of the strengthening by disuse.
    coupling (5, 5): W[target][source], how far a deviation of the source moves the target's resting point.
    rules: threshold rules.
    time_scale: > 0, multiplies every rate (rule_period included); 1 means physiological seconds.
    saturating: every impulse is cut so that the level stays in [0, 1]; otherwise only the read-out is clipped.
    rule_period: seconds between two looks at the crossing rules while time passes.

    Any sequences are accepted and stored as tuples. Raises ModulatorError for a wrong length, a value out of range,
    or a coupling under which the levels would not return to baseline (spectral abscissa of the system >= 0).
    """

    baseline: tuple[float, ...]
    half_life: tuple[float, ...]
    opponent_ratio: tuple[float, ...]
    opponent_gain: tuple[float, ...]
    gain_max: tuple[float, ...]
    gain_rate: tuple[float, ...]
    gain_half_life: tuple[float, ...]
    coupling: tuple[tuple[float, ...], ...] = ((0.0,) * 5,) * 5
    rules: tuple[ThresholdRule, ...] = ()
    time_scale: float = 1.0
    saturating: bool = False
    rule_period: float = 0.25

    def __post_init__(self) -> None:
        for name, low, high, remedy in _RANGES:
            values = _five(name, getattr(self, name))
            object.__setattr__(self, name, values)
            for i, value in enumerate(values):
                if not low <= value <= high:
                    raise ModulatorError(f"{name}[{i}] ({MODULATORS[i]}) is {value:g}; write {remedy}")
        for i, (low, high) in enumerate(zip(self.opponent_gain, self.gain_max, strict=True)):
            if high < low:
                raise ModulatorError(
                    f"gain_max[{i}] ({MODULATORS[i]}) is {high:g}; write at least its opponent_gain, {low:g}"
                )
        for name in ("time_scale", "rule_period"):
            if not 0 < getattr(self, name) < math.inf:
                raise ModulatorError(f"{name} is {getattr(self, name)}; write a finite number greater than zero")
        if len(self.coupling) != 5:
            raise ModulatorError(f"coupling has {len(self.coupling)} rows; write 5, one per target in {_names()}")
        object.__setattr__(self, "coupling", tuple(_five(f"coupling[{i}]", row) for i, row in enumerate(self.coupling)))
        object.__setattr__(self, "rules", tuple(self.rules))
        self._check_stability()

    def _check_stability(self) -> None:
        if not np.isfinite(self.coupling).all():
            raise ModulatorError("coupling holds a number that is not finite; write 5 rows of 5 finite weights")
        timeless = [name for name, h in zip(MODULATORS, self.half_life, strict=True) if math.isinf(h)]
        if len(timeless) == len(MODULATORS):
            return
        if timeless:
            raise ModulatorError(
                f"half_life is infinite for {', '.join(timeless)} only;"
                " write finite half-lives for all, or inf for all five (no decay at all)"
            )
        abscissa = float(np.linalg.eigvals(self.generator()).real.max())
        if abscissa >= 0:
            sums = np.abs(self.coupling).sum(axis=1)
            raise ModulatorError(
                f"coupling is unstable: the slowest mode grows by {abscissa:.3g} per second instead of decaying;"
                " write weights whose magnitudes add up to less than 1 in every row"
                f" (row {int(sums.argmax())}, {MODULATORS[int(sums.argmax())]}, adds up to {sums.max():.3g})"
            )

    @property
    def rates(self) -> np.ndarray:
        """(5,) decay rate lambda of the primary process, per second of the agents' clock."""
        return self.time_scale * math.log(2) / np.asarray(self.half_life)

    @property
    def gain_rates(self) -> np.ndarray:
        """(5,) decay rate nu of the opponent's strength, per second of the agents' clock."""
        return self.time_scale * math.log(2) / np.asarray(self.gain_half_life)

    def generator(self) -> np.ndarray:
        """(15, 15) matrix M of the linear system dz/dt = M z with z = (primary, drive, opponent), per second."""
        rates, slow = np.diag(self.rates), np.diag(self.rates / np.asarray(self.opponent_ratio))
        inflow, none = rates @ np.asarray(self.coupling), np.zeros((5, 5))
        return np.block([[inflow - rates, none, -inflow], [none, -rates, none], [none, slow, -slow]])


_POSITIVE = 1e-9
_RANGES: tuple[tuple[str, float, float, str], ...] = (
    ("baseline", 0.0, 1.0, "a level between 0 and 1"),
    ("half_life", _POSITIVE, math.inf, "seconds greater than zero, or inf for no decay"),
    ("opponent_ratio", 1.0, 1e6, "1 or more: the opponent process is the slower one"),
    ("opponent_gain", 0.0, 1e6, "0 or more"),
    ("gain_max", 0.0, 1e6, "0 or more"),
    ("gain_rate", 0.0, 1e6, "0 or more"),
    ("gain_half_life", _POSITIVE, math.inf, "seconds greater than zero, or inf for no forgetting"),
)


def _five(name: str, values: Sequence[float]) -> tuple[float, ...]:
    try:
        numbers = tuple(float(x) for x in values)
    except (TypeError, ValueError):
        raise ModulatorError(f"{name} is {values!r}; write 5 numbers, one per modulator: {_names()}") from None
    if len(numbers) != len(MODULATORS):
        raise ModulatorError(f"{name} has {len(numbers)} entries; write 5, one per modulator: {_names()}")
    return numbers


def _names() -> str:
    return ", ".join(MODULATORS)


def _coupled(weights: dict[tuple[str, str], float]) -> tuple[tuple[float, ...], ...]:
    """W[target][source] from {(target, source): weight}."""
    return tuple(tuple(weights.get((target, source), 0.0) for source in MODULATORS) for target in MODULATORS)


#: The opponent-process set. The theory (Solomon & Corbit 1974, Psychol Rev 81:119) orders the time constants and
#: fixes no number: opponent_ratio, opponent_gain, gain_max, gain_rate, gain_half_life, the baselines and the
#: magnitudes of the coupling are choices. The half-lives are physiological as far as a source gives one, and the signs
#: of the coupling come from the literature named beside them.
OPPONENT_PROCESS = ModulatorParameters(
    baseline=(0.50, 0.50, 0.30, 0.30, 0.40),
    half_life=(
        2.0,  # dopamine: cleared by its transporter within seconds (voltammetry, PMC9668542)
        120.0,  # serotonin: window of the reward average (Daw, Kakade & Dayan 2002, Neural Netw 15:603); a choice
        192.0,  # oxytocin: plasma, 3.2 min (reported 2.0 to 5.7); cerebrospinal fluid: 19 min (Mens et al. 1983)
        4590.0,  # cortisol: plasma, 76.5 min (reported 40 to 225)
        150.0,  # norepinephrine: plasma, 2 to 2.5 min
    ),
    opponent_ratio=(5.0,) * 5,
    opponent_gain=(0.4, 0.3, 0.3, 0.5, 0.4),
    gain_max=(1.2, 1.0, 1.0, 1.0, 1.2),
    gain_rate=(0.15, 0.10, 0.10, 0.10, 0.15),
    gain_half_life=(600.0, 36_000.0, 36_000.0, 259_200.0, 36_000.0),
    coupling=_coupled(
        {
            ("cortisol", "oxytocin"): -0.30,  # social buffering (Smith & Wang 2014)
            ("cortisol", "norepinephrine"): 0.20,  # loop of CRH and locus coeruleus
            ("norepinephrine", "cortisol"): 0.20,  # the other half of that loop
            ("dopamine", "serotonin"): -0.15,  # opponency (Daw, Kakade & Dayan 2002)
            ("serotonin", "dopamine"): -0.10,  # opponency (same)
            ("serotonin", "cortisol"): -0.15,  # a choice in sign and size
            ("dopamine", "cortisol"): -0.10,  # a choice in sign and size
            ("oxytocin", "cortisol"): 0.10,  # a choice in sign and size
        }
    ),
    rules=(ThresholdRule("dopamine", 0.8, "norepinephrine", 0.1),),
)

#: Arithmetic without time: every level starts at one half and stays where an impulse leaves it, clipped to [0, 1];
#: each event that leaves dopamine above 0.8 adds 0.1 to norepinephrine, clipped as well.
GUIDE = ModulatorParameters(
    baseline=(0.5,) * 5,
    half_life=(math.inf,) * 5,
    opponent_ratio=(5.0,) * 5,
    opponent_gain=(0.0,) * 5,
    gain_max=(0.0,) * 5,
    gain_rate=(0.0,) * 5,
    gain_half_life=(math.inf,) * 5,
    rules=(ThresholdRule("dopamine", 0.8, "norepinephrine", 0.1, rearm="event"),),
    saturating=True,
)

PARAMETER_SETS = {"opponent-process": OPPONENT_PROCESS, "guide": GUIDE}


def parameter_set(name: str) -> ModulatorParameters:
    """Return the parameter set of that name. Raises ModulatorError, listing the names, for any other."""
    try:
        return PARAMETER_SETS[name]
    except KeyError:
        raise ModulatorError(f"no parameter set is named {name!r}; write one of {', '.join(PARAMETER_SETS)}") from None
