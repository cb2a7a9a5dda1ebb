"""Checkpoints: arrays and a little metadata in one file that is whole, verified and never executed.

A checkpoint is an NPZ file without pickle. Its metadata carries a format version and the SHA-256 of every name,
type, shape and byte, so that a file that was damaged, cut short or written by something else is not restored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import replacing
from .errors import CheckpointError
from .npz import NpzError, read_npz, write_npz

_FORMAT = "cognitive-actors checkpoint"
VERSION = 1
_REMEDY = "restore an older checkpoint, or start again without one"


def save_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint that replaces ``path`` at once; the data is on the disk when this returns.

    arrays: any shapes and types but Python objects; their names may be anything except "meta".
    meta: what JSON can hold. Raises CheckpointError where either cannot be stored, OSError where the disk refuses.
    """
    # Contiguous and made once, so that what is hashed is what is written.
    solid = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        # As it will be read: JSON makes lists of tuples and strings of the numbers that are keys.
        plain = json.loads(json.dumps(dict(meta), allow_nan=False))
        header = {"format": _FORMAT, "version": VERSION, "meta": plain, "sha256": _digest(solid, plain)}
        with replacing(path) as file:
            write_npz(file, solid, header)
    except (NpzError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: not written: {error}") from None


def load_arrays(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata of a checkpoint, in the order in which they were saved.

    Raises CheckpointError, naming the file and what to do, if the file is missing, damaged, cut short, of another
    version or not a checkpoint.
    """
    path = Path(path)
    try:
        arrays, header = read_npz(path)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}; {_REMEDY}") from None
    except NpzError as error:
        raise CheckpointError(f"{path}: {error}; {_REMEDY}") from None
    if header.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: this is not a checkpoint of cognitive_actors; {_REMEDY}")
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: format version {header.get('version')!r}, this program reads {VERSION};"
            " read it with the program that wrote it, or start again without it"
        )
    meta = header.get("meta")
    if not isinstance(meta, dict) or header.get("sha256") != _digest(arrays, meta):
        raise CheckpointError(f"{path}: the content does not match its checksum; {_REMEDY}")
    return arrays, meta


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
