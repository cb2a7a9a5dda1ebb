"""Values as JSON has them, and no others: what is refused, and where it stands."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from .problems import Refused

#: Characters (ASCII) that a value takes as JSON, and brackets within brackets. Choices.
CHARACTERS, DEPTH = 1 << 16, 32


def text_of(value: Any, where: str) -> str:
    """The value as JSON. Raises Refused (422) with the place of what is none, and for one that is too large."""
    for place, part, depth in _parts(value, where):
        if depth >= DEPTH and isinstance(part, dict | list):
            raise Refused(422, f"{place}: more than {DEPTH} brackets within each other; write a flatter value")
        if isinstance(part, float) and not math.isfinite(part):
            raise Refused(422, f"{place} is {part}; write a finite number, or null where nothing is known")
        if isinstance(part, str) and not part.isascii() and any("\ud800" <= c <= "\udfff" for c in part):
            raise Refused(422, f"{place} has half a character, which no UTF-8 can hold; write the whole")
    text = json.dumps(value, allow_nan=False)
    if len(text) > CHARACTERS:
        raise Refused(422, f"{where} takes {len(text)} characters, and may take {CHARACTERS}; write it in parts")
    return text


def _parts(value: Any, where: str) -> Iterator[tuple[str, Any, int]]:
    """Every part of a value with its place and depth; the keys of objects among them."""
    waiting = [(where, value, 0)]
    while waiting:
        place, part, depth = waiting.pop()
        yield place, part, depth
        if isinstance(part, dict):
            waiting.extend((f"the key {key!r} of {place}", key, depth) for key in part)
            waiting.extend((f"{place}.{_shown(key)}", x, depth + 1) for key, x in part.items())
        elif isinstance(part, list):
            waiting.extend((f"{place}[{i}]", x, depth + 1) for i, x in enumerate(part))


def _shown(key: str) -> str:
    return key if len(key) <= 40 else f"{key[:40]}…"
