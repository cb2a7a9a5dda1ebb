"""Models as NPZ: the arrays as GenerativeModel.tensors() names them, with the batch axis, and the names as JSON.

The array ``meta`` holds the JSON text: format, version, name, horizon, factors (name, states, actions) and modalities
(name, outcomes, depends_on, social). A_i and B_i must be there; C_i, D_i and E are uniform and counts absent
otherwise. Such a file can be written with plain numpy: ``np.savez(path, meta=json.dumps(...), A_0=..., B_0=...)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..core.model import Factor, GenerativeModel, Modality
from ..core.validation import ModelError
from .columns import shown
from .errors import suggestion
from .model_arrays import VERSION, ModelArrays, check_policies
from .npz import read_npz, write_npz

_FORMAT = "cognitive-actors model"
_META = ("format", "version", "name", "horizon", "factors", "modalities")


def write_model_npz(model: GenerativeModel, file: IO[bytes]) -> None:
    """Write a model, of one agent or of many, with its numbers as they are."""
    meta = {
        "format": _FORMAT,
        "version": VERSION,
        "name": model.name,
        "horizon": model.horizon,
        "factors": [{"name": f.name, "states": f.states, "actions": f.actions} for f in model.factors],
        "modalities": [
            {
                "name": m.name,
                "outcomes": m.outcomes,
                "depends_on": [model.factors[i].name for i in m.factors],
                "social": m.social,
            }
            for m in model.modalities
        ],
    }
    write_npz(file, {name: x.detach().cpu().numpy() for name, x in model.tensors().items()}, meta)


def read_model_npz(path: Path, limit: int) -> ModelArrays:
    """The arrays of an NPZ model, batched. Raises ModelError or NpzError, without the file's name, or OSError."""
    # As numbers of single precision, which is what the model makes of them: a byte each could stand for much more.
    arrays, meta = read_npz(path, limit, least=4)
    if meta.get("format") != _FORMAT or meta.get("version") != VERSION:
        raise ModelError(
            f"meta has format {shown(meta.get('format'))}, version {shown(meta.get('version'))};"
            f" write {_FORMAT!r} and {VERSION}, as save_model does"
        )
    for key in meta:
        if key not in _META:
            raise ModelError(f"meta: unknown key {shown(key)}; {suggestion(key, _META)}")
    factors = tuple(
        Factor(_text(x, "name", at), _texts(x, "states", at), _texts(x, "actions", at))
        for at, x in _entries(meta, "factors", ("name", "states", "actions"))
    )
    modalities = _modalities(meta, [factor.name for factor in factors])
    horizon = meta.get("horizon", 1)
    if type(horizon) is not int or horizon < 1:
        raise ModelError(f"meta.horizon is {shown(horizon)}; write a whole number, 1 or more")
    check_policies(factors, horizon, ModelError)
    return _with_arrays(
        arrays, _text(meta, "name", "meta") if "name" in meta else "model", horizon, factors, modalities
    )


def _with_arrays(
    arrays: dict[str, np.ndarray],
    name: str,
    horizon: int,
    factors: tuple[Factor, ...],
    modalities: tuple[Modality, ...],
) -> ModelArrays:
    lengths = {"A": len(modalities), "C": len(modalities), "pA": len(modalities)}
    lengths |= dict.fromkeys(("B", "D", "pB", "pD"), len(factors))
    known = ["E", *(f"{label}_{i}" for label, length in lengths.items() for i in range(length))]
    for key, x in arrays.items():
        if key not in known:
            raise ModelError(f"unknown array {key!r}; {suggestion(key, known)}")
        if x.dtype.kind not in "fiu" or not x.ndim or not x.shape[0]:
            raise ModelError(
                f"array {key!r} has type {x.dtype} and shape {x.shape}; write real numbers with a leading batch axis"
            )
    batches = {x.shape[0]: key for key, x in arrays.items() if x.shape[0] > 1}
    if len(batches) > 1:
        raise ModelError(f"batch axes of different lengths, {batches}; write 1 or the same number of agents in all")

    def given(label: str, *, required: bool = False) -> Sequence[np.ndarray] | None:
        keys = [f"{label}_{i}" for i in range(lengths[label])]
        missing = [key for key in keys if key not in arrays]
        if len(missing) == len(keys) and not required:
            return None
        if missing:
            raise ModelError(f"array {missing[0]!r} is missing; write {', '.join(keys)}")
        return [arrays[key] for key in keys]

    return ModelArrays(
        name=name,
        horizon=horizon,
        factors=factors,
        modalities=modalities,
        A=given("A", required=True) or [],
        B=given("B", required=True) or [],
        C=given("C"),
        D=given("D"),
        E=arrays.get("E"),
        pA=given("pA"),
        pB=given("pB"),
        pD=given("pD"),
        batched=True,
    )


def _modalities(meta: dict[str, Any], names: list[str]) -> tuple[Modality, ...]:
    modalities: list[Modality] = []
    for at, x in _entries(meta, "modalities", ("name", "outcomes", "depends_on", "social")):
        depends_on = _texts(x, "depends_on", at)
        for name in depends_on:
            if name not in names:
                raise ModelError(f"{at}.depends_on: no factor is called {shown(name)}; {suggestion(name, names)}")
        social = x.get("social", False)
        if not isinstance(social, bool):
            raise ModelError(f"{at}.social is {shown(social)}; write true or false")
        modalities.append(
            Modality(_text(x, "name", at), _texts(x, "outcomes", at), tuple(map(names.index, depends_on)), social)
        )
    return tuple(modalities)


def _entries(meta: dict[str, Any], key: str, known: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    entries = meta.get(key)
    if not isinstance(entries, list) or not entries or not all(isinstance(x, dict) for x in entries):
        raise ModelError(f"meta.{key} is no list of objects; write one for each, with {', '.join(known)}")
    for i, x in enumerate(entries):
        for name in x:
            if name not in known:
                raise ModelError(f"meta.{key}[{i}]: unknown key {shown(name)}; {suggestion(name, known)}")
    return [(f"meta.{key}[{i}]", x) for i, x in enumerate(entries)]


def _text(entry: dict[str, Any], key: str, at: str) -> str:
    value = entry.get(key)
    if not _is_name(value):
        raise ModelError(f"{at}.{key} is {shown(value)}; write a text that is not empty")
    return str(value)


def _texts(entry: dict[str, Any], key: str, at: str) -> tuple[str, ...]:
    values = entry.get(key)
    if not isinstance(values, list) or not values or not all(map(_is_name, values)):
        raise ModelError(f"{at}.{key} is {shown(values)}; write a list of texts, at least one, none of them empty")
    if len(set(values)) < len(values):
        raise ModelError(f"{at}.{key}: a name is there twice in {shown(values)}; give each a name of its own")
    return tuple(values)


def _is_name(value: object) -> bool:
    """Whether a value is a text that UTF-8 can hold: a lone surrogate could be written nowhere again."""
    return isinstance(value, str) and bool(value) and not any("\ud800" <= c <= "\udfff" for c in value)
