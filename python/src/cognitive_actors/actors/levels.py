"""Modulator levels as other actors are told them: by name, any of them left out."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real

from torch import Tensor

from ..core.modulator_parameters import MODULATORS


def read_levels(state: Mapping[str, float] | None, resting: Tensor) -> Tensor:
    """(5,) levels in the order of MODULATORS; those not named in ``state`` are at rest.

    Raises ValueError for an unknown modulator or a level that is not a number between 0 and 1.
    """
    levels = resting.clone()
    for name, value in (state or {}).items():
        if name not in MODULATORS:
            raise ValueError(f"state has no modulator {name!r}; write some of: {', '.join(MODULATORS)}")
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) <= 1:
            raise ValueError(f"state gives {name} as {value!r}; write a level between 0 and 1")
        levels[MODULATORS.index(name)] = float(value)
    return levels
