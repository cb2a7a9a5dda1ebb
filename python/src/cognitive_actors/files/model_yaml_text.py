"""Writing a model as YAML that :mod:`model_yaml` reads back to the last bit."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
import yaml
from torch import Tensor

from ..core.model import Factor, GenerativeModel
from ..core.validation import ModelError
from .model_arrays import VERSION
from .yaml_text import Dumper

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
        Dumper=Dumper,
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
    """The one entry of the batch as nested lists of numbers that give it back to the last bit in its own precision."""
    values = x[0].detach().cpu().numpy()
    exact = values.astype(np.float64)
    if values.dtype == np.float32:
        # 0.1 and not 0.10000000149011612, which is the same number in single precision.
        short = values.astype(str).astype(np.float64)
        exact = np.where(short.astype(np.float32) == values, short, exact)
    numbers: list[Any] = exact.tolist()
    return numbers


def _uniform(x: Tensor) -> bool:
    """Whether x (1, n) is what is made where a distribution is not written."""
    n = x.shape[1]
    return bool((x[0] == x.new_tensor(np.full(n, 1 / n))).all())
