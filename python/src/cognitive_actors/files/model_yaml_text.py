"""Writing a model as YAML that :mod:`model_yaml` reads back to the last bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

import numpy as np
import yaml
from torch import Tensor

from ..core.model import Factor, GenerativeModel
from ..core.validation import ModelError
from .model_arrays import VERSION

_Dumper: Any = yaml.CSafeDumper if yaml.__with_libyaml__ else yaml.SafeDumper
_ALONE = Factor("", ()).actions


def write_yaml(model: GenerativeModel, file: IO[bytes]) -> None:
    """Write a model that all agents share. What is uniform, and would be so by default, is left out.

    Raises ModelError for a model that holds arrays of single agents.
    """
    if not model.shared:
        raise ModelError(f"model {model.name!r} holds arrays of single agents; save it as .npz")
    document = {
        "version": VERSION,
        "name": model.name,
        "horizon": model.horizon,
        "factors": [_factor(model, i) for i in range(len(model.factors))],
        "modalities": [_modality(model, i) for i in range(len(model.modalities))],
    }
    if not _uniform(model.E):
        document["habits"] = _numbers(model.E)
    counts = _counts(model)
    if counts:
        document["counts"] = counts
    # Rows of numbers on one line, everything else one entry to a line.
    yaml.dump(
        document,
        file,
        Dumper=_Dumper,
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        encoding="utf-8",
        width=120,
    )


def _factor(model: GenerativeModel, i: int) -> dict[str, Any]:
    factor = model.factors[i]
    written: dict[str, Any] = {"name": factor.name, "states": list(factor.states)}
    if factor.actions != _ALONE:
        written["actions"] = list(factor.actions)
    if not _uniform(model.D[i]):
        written["initial"] = _numbers(model.D[i])
    written["transitions"] = _matrices(factor, model.B[i], shorthand=True)
    return written


def _modality(model: GenerativeModel, i: int) -> dict[str, Any]:
    modality = model.modalities[i]
    preferences = _numbers(model.C[i])
    return {
        "name": modality.name,
        "outcomes": list(modality.outcomes),
        "depends_on": [model.factors[f].name for f in modality.factors],
        "likelihood": _numbers(model.A[i].movedim(1, -1)),
        "preferences": preferences
        if len(preferences) > 1
        else dict(zip(modality.outcomes, preferences[0], strict=True)),
        **({"social": True} if modality.social else {}),
    }


def _counts(model: GenerativeModel) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    if model.pA is not None:
        pairs = zip(model.modalities, model.pA, strict=True)
        counts["likelihood"] = {m.name: _numbers(x.movedim(1, -1)) for m, x in pairs}
    if model.pB is not None:
        pairs_B = zip(model.factors, model.pB, strict=True)
        counts["transitions"] = {f.name: _matrices(f, x, shorthand=False) for f, x in pairs_B}
    if model.pD is not None:
        counts["initial"] = {f.name: _numbers(x) for f, x in zip(model.factors, model.pD, strict=True)}
    return counts


def _matrices(factor: Factor, x: Tensor, *, shorthand: bool) -> Any:
    """(1, next, previous, action) as a row per previous state, by action where there are any."""
    n = len(factor.states)
    matrices: list[Any] = [_numbers(x[..., u].movedim(1, 2)) for u in range(len(factor.actions))]
    if shorthand and n > 1:
        identity = np.eye(n).tolist()
        matrices = ["stay" if matrix == identity else matrix for matrix in matrices]
    return matrices[0] if factor.actions == _ALONE else dict(zip(factor.actions, matrices, strict=True))


def _numbers(x: Tensor) -> list[Any]:
    """The one entry of the batch as nested lists of Python floats, which YAML writes in full."""
    numbers: list[Any] = x[0].double().cpu().tolist()
    return numbers


def _uniform(x: Tensor) -> bool:
    """Whether x (1, n) is what is made where a distribution is not written."""
    row: Sequence[float] = _numbers(x)
    default = np.full(len(row), 1 / len(row)).astype(_numpy_type(x))
    return bool((np.array(row) == default.astype(np.float64)).all())


def _numpy_type(x: Tensor) -> Any:
    return x.new_zeros(0).cpu().numpy().dtype
