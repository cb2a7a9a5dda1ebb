"""What every model format reads into, and how a model is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.model import Factor, GenerativeModel, Modality
from ..core.validation import SUM_TOLERANCE, ModelError

#: The version of the formats written and read here.
VERSION = 1

#: A model with more policies would take gigabytes before the first step is planned.
MOST_POLICIES = 1 << 24
#: Of a model without actions, whose one policy may be of any length. A choice.
MOST_STEPS = 10_000


@dataclass
class ModelArrays:
    """The arguments of GenerativeModel.from_arrays. C is (steps, outcomes), preceded by the batch axis if batched."""

    name: str
    horizon: int
    factors: tuple[Factor, ...]
    modalities: tuple[Modality, ...]
    A: Sequence[np.ndarray]
    B: Sequence[np.ndarray]
    C: Sequence[np.ndarray] | None = None
    D: Sequence[np.ndarray] | None = None
    E: np.ndarray | None = None
    pA: Sequence[np.ndarray] | None = None
    pB: Sequence[np.ndarray] | None = None
    pD: Sequence[np.ndarray] | None = None
    batched: bool = False

    def build(self, dtype: torch.dtype, device: torch.device | str) -> GenerativeModel:
        """The validated model. Raises ModelError."""
        model = GenerativeModel.from_arrays(
            self.A,
            self.B,
            self.C,
            self.D,
            self.E,
            factors=self.factors,
            modalities=self.modalities,
            horizon=self.horizon,
            pA=self.pA,
            pB=self.pB,
            pD=self.pD,
            batched=self.batched,
            name=self.name,
            dtype=dtype,
            device=device,
        )
        # Normalising what is normalised already would change the last bit, and a saved model would not come back.
        C = [
            torch.as_tensor(given, dtype=dtype, device=device).reshape(made.shape).contiguous()
            if _normalised(given)
            else made
            for given, made in zip(self.C or [], model.C, strict=self.C is not None)
        ]
        model = replace(model, C=tuple(C)) if C else model
        for label, x in model.tensors().items():
            if not bool(torch.isfinite(x).all()):
                raise ModelError(f"{label} holds a number that {dtype} cannot; write a smaller one")
        return model


def check_policies(factors: Sequence[Factor], horizon: int, error: Callable[[str], ModelError]) -> int:
    """The number of policies; raises what ``error`` makes of a message if there are too many to enumerate."""
    if horizon > MOST_STEPS:
        raise error(f"more than {MOST_STEPS:,} steps; write a shorter horizon")
    actions = math.prod(len(factor.actions) for factor in factors)
    policies = actions**horizon if horizon * math.log2(actions) < 64 else MOST_POLICIES + 1
    if policies > MOST_POLICIES:
        raise error(
            f"{actions} actions over a horizon of {horizon} steps are more than {MOST_POLICIES:,} policies;"
            " write a shorter horizon"
        )
    return policies


def check_names(model: GenerativeModel) -> None:
    """Raise ModelError for names that a model file could not hold or give back."""
    groups = [("states of factor", f.name, f.states) for f in model.factors]
    groups += [("actions of factor", f.name, f.actions) for f in model.factors]
    groups += [("outcomes of modality", m.name, m.outcomes) for m in model.modalities]
    for what, name, labels in groups:
        if not name or not all(labels) or len(set(labels)) < len(labels):
            raise ModelError(f"the {what} {name!r} are {list(labels)}; give each a name of its own that is not empty")


def _normalised(log_preferences: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        sums = np.exp(np.asarray(log_preferences, dtype=np.float64)).sum(axis=-1)
    return bool((np.abs(sums - 1) <= SUM_TOLERANCE).all())
