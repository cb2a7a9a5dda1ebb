"""Values as text that reads back as the same value, or an error: what a checkpoint can hold of an answer."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from .errors import CheckpointError

_ARRAY = "array:"


def to_text(value: Any, label: str) -> str:
    """None, text, booleans, finite numbers, lists and dicts of them with text as keys, or one array of numbers.

    Raises CheckpointError, naming ``label``, for anything else, such as a tuple, which would come back as a list.
    """
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return _ARRAY + json.dumps([value.dtype.str, value.shape, content])
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
    """The inverse of :func:`to_text`."""
    if not text.startswith(_ARRAY):
        return json.loads(text)
    dtype, shape, content = json.loads(text.removeprefix(_ARRAY))
    return np.frombuffer(base64.b64decode(content), dtype=np.dtype(dtype)).reshape(shape).copy()


def _same(read: Any, given: Any) -> bool:
    try:
        return bool(read == given)
    except ValueError:
        # An array among them compares element by element.
        return False
