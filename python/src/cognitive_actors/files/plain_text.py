"""Values as text that reads back as the same value, or an error: what a checkpoint can hold of an answer."""

from __future__ import annotations

import base64
import json
import math
import operator
from typing import Any

import numpy as np

from .errors import CheckpointError

# No JSON begins like this.
_ARRAY, _ARRAYS = "array:", "arrays:"
# What Python and numpy raise at text that is none of ours; types are read as Python text.
_DAMAGE = (ValueError, TypeError, LookupError, AttributeError, SyntaxError, OverflowError, RecursionError, MemoryError)


def to_text(value: Any, label: str) -> str:
    """None, text, booleans, finite numbers, lists and dicts of them with text as keys; or arrays of numbers: one, or a
    dict of nothing else.

    Raises CheckpointError, naming ``label``, for anything else, such as a tuple, which would come back as a list.
    """
    if _is_array(value):
        return _ARRAY + json.dumps(_packed(value))
    if isinstance(value, dict) and value and all(isinstance(k, str) and _is_array(x) for k, x in value.items()):
        return _ARRAYS + json.dumps({name: _packed(x) for name, x in value.items()})
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{label} cannot be kept in a checkpoint ({error}); write text, finite numbers, lists and dicts"
        ) from None
    if not _same(json.loads(text), value):
        raise CheckpointError(
            f"{label} would come back changed from a checkpoint; write lists for tuples, and text for the keys of dicts"
        )
    return text


def from_text(text: str) -> Any:
    """The inverse of :func:`to_text`. Raises CheckpointError for a text that it does not write."""
    try:
        if text.startswith(_ARRAYS):
            return {name: _unpacked(x) for name, x in json.loads(text.removeprefix(_ARRAYS)).items()}
        if text.startswith(_ARRAY):
            return _unpacked(json.loads(text.removeprefix(_ARRAY)))
        return json.loads(text, parse_constant=_refuse_constant)
    except _DAMAGE as error:
        raise CheckpointError(f"a value kept as text is damaged ({error}); restore an older checkpoint") from None


def _is_array(value: Any) -> bool:
    return (
        isinstance(value, np.ndarray)
        and not value.dtype.hasobject
        and _same_room(value.size, value.dtype, value.nbytes)
    )


def _same_room(entries: int, dtype: np.dtype, size: int) -> bool:
    """Whether entries of a type take so many bytes; no number of them takes none."""
    return entries * dtype.itemsize == size and (dtype.itemsize > 0 or not entries)


def _packed(array: np.ndarray) -> list[Any]:
    return [array.dtype.str, array.shape, base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()]


def _unpacked(packed: Any) -> np.ndarray:
    dtype, shape, content = packed
    if not isinstance(dtype, str) or not isinstance(shape, list):
        raise ValueError("an array is written as its type, its shape and its bytes")
    given, sizes = np.dtype(dtype), [operator.index(n) for n in shape]
    data = base64.b64decode(content, validate=True)
    entries = math.prod(sizes)
    if given.hasobject or min(sizes, default=0) < 0 or not _same_room(entries, given, len(data)):
        raise ValueError(f"{len(data)} bytes are no array of type {dtype!r} and shape {sizes}")
    # Not frombuffer, which refuses an array without bytes.
    return np.ndarray(sizes, given, data).copy()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _same(read: Any, given: Any) -> bool:
    try:
        return bool(read == given)
    except ValueError:
        # An array among them compares element by element.
        return False
