"""Checkpoints: arrays and a little metadata in one file that is whole, verified and never executed.

A checkpoint is an NPZ file without pickle. Its metadata carries a format version and the SHA-256 of every name,
type, shape and byte, so that a file that was damaged, cut short or written by something else is not restored.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import replacing
from .errors import CheckpointError
from .npz import NpzError, parse_npz, read_npz, write_npz

_FORMAT = "cognitive-actors checkpoint"
VERSION = 1
_REMEDY = "restore an older checkpoint, or start again without one"


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint that replaces ``path`` at once; the data is on the disk when this returns.

    arrays: any shapes and types but Python objects; their names may be anything except "meta".
    meta: what JSON can hold. Raises CheckpointError where either cannot be stored, OSError where the disk refuses.
    """
    solid, header = _prepared(arrays, meta, path)
    with _refusals(path), replacing(path) as file:
        write_npz(file, solid, header)


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata of a checkpoint, in the order in which they were saved.

    Raises CheckpointError, naming the file and what to do, if the file is missing, damaged, cut short, of another
    version or not a checkpoint.
    """
    path = Path(path)
    try:
        return _verified(*read_npz(path), path)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}; {_REMEDY}") from None
    except NpzError as error:
        raise CheckpointError(f"{path}: {error}; {_REMEDY}") from None


def pack_arrays(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], source: object) -> bytes:
    """The bytes of the file that :func:`save_arrays` writes. Errors name ``source``."""
    solid, header = _prepared(arrays, meta, source)
    buffer = io.BytesIO()
    with _refusals(source):
        write_npz(buffer, solid, header)
    return buffer.getvalue()


def unpack_arrays(content: bytes, source: object) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The inverse of :func:`pack_arrays`. Raises CheckpointError, naming ``source``, as :func:`load_arrays` does."""
    try:
        # Nothing in a checkpoint is compressed, so that no few bytes ask for much memory.
        return _verified(*parse_npz(io.BytesIO(content), limit=len(content)), source)
    except NpzError as error:
        raise CheckpointError(f"{source}: {error}; {_REMEDY}") from None


@contextmanager
def _refusals(source: object) -> Iterator[None]:
    try:
        yield
    except (NpzError, TypeError, ValueError) as error:
        raise CheckpointError(f"{source}: not written: {error}") from None


def _prepared(
    arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], source: object
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays as they will be written, and the header that describes them."""
    with _refusals(source):
        # Contiguous and made once, so that what is hashed is what is written.
        solid = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        # As it will be read: JSON makes lists of tuples and strings of the numbers that are keys.
        plain = json.loads(json.dumps(dict(meta), allow_nan=False))
        return solid, {"format": _FORMAT, "version": VERSION, "meta": plain, "sha256": _digest(solid, plain)}


def _verified(
    arrays: dict[str, np.ndarray], header: dict[str, Any], source: object
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if header.get("format") != _FORMAT:
        raise CheckpointError(f"{source}: this is not a checkpoint of cognitive_actors; {_REMEDY}")
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{source}: format version {header.get('version')!r}, this program reads {VERSION};"
            " read it with the program that wrote it, or start again without it"
        )
    meta = header.get("meta")
    if not isinstance(meta, dict) or not _matches(arrays, meta, header.get("sha256")):
        raise CheckpointError(f"{source}: the content does not match its checksum; {_REMEDY}")
    return arrays, meta


def _matches(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], expected: object) -> bool:
    try:
        return _digest(arrays, meta) == expected
    except (TypeError, ValueError, RecursionError):
        # Metadata that this program would not have written, such as NaN.
        return False


def _digest(arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True, allow_nan=False).encode())
    for name in sorted(arrays):
        array = arrays[name]
        if array.dtype.hasobject:
            raise ValueError(f"array {name!r} holds Python objects; convert it to numbers or text")
        digest.update(json.dumps([name, np.lib.format.dtype_to_descr(array.dtype), array.shape]).encode())
        if array.nbytes:
            digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
