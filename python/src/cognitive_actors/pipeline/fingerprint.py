"""What a run is made of, so that one is not resumed with other input."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

_WINDOW = 65536


def fingerprint_file(path: Path) -> dict[str, Any]:
    """Name, size and a digest of the beginning and end of a file: enough to notice that it is another one."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = hashlib.sha256(file.read(_WINDOW))
        file.seek(max(0, size - _WINDOW))
        digest.update(file.read(_WINDOW))
    return {"name": path.name, "bytes": size, "digest": digest.hexdigest()[:16]}


def fingerprint_settings(settings: Any) -> dict[str, Any]:
    """Every number of nested settings by its dotted name, as JSON can hold it."""
    return dict(_leaves(settings, ""))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name), f"{name}.{field.name}" if name else field.name)
    elif isinstance(value, (tuple, list)):
        for i, part in enumerate(value):
            yield from _leaves(part, f"{name}[{i}]")
    else:
        # Infinity is no JSON, and repr gives back every other float as it is.
        yield name, repr(value) if isinstance(value, float) else value
