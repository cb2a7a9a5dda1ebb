"""What a model and its parameters are, in few words: so that a stored state is not continued under others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor


def describe(value: Any) -> dict[str, str | int | bool | None]:
    """Every number and word of nested dataclasses, tuples and mappings by its dotted name; tensors by a digest.

    Floats are given as text that reads back as the same float, because infinity is no JSON. Raises TypeError, naming
    the place, for anything else.
    """
    return dict(_leaves(value, ""))


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first difference of two descriptions in words, None where they are the same."""
    for name in {**before, **now}:
        if name not in before:
            return f"{name} is {now[name]!r} now and was unknown then"
        if name not in now:
            return f"{name} was {before[name]!r} then and is unknown now"
        if before[name] != now[name]:
            return f"{name} was {before[name]!r} then and is {now[name]!r} now"
    return None


def _leaves(value: Any, name: str) -> Iterator[tuple[str, str | int | bool | None]]:
    prefix = f"{name}." if name else ""
    if isinstance(value, Tensor):
        array = value.detach().cpu().contiguous().numpy()
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        yield name, f"{value.dtype} {tuple(value.shape)} {digest}"
    elif is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name), f"{prefix}{field.name}")
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{prefix}{key}")
    elif isinstance(value, tuple | list):
        yield f"{prefix}length", len(value)
        for i, part in enumerate(value):
            yield from _leaves(part, f"{prefix}{i}")
    elif isinstance(value, float):
        yield name, repr(float(value))
    elif value is None or isinstance(value, str | int):
        yield name, value
    else:
        raise TypeError(f"{name or 'the value'} is a {type(value).__name__}, which has no description; write numbers")
