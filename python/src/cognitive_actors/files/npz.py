"""Numpy's NPZ format without pickle: named arrays and one JSON text, checked before any memory is taken."""

from __future__ import annotations

import json
import math
import os
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

#: The array that holds the metadata as JSON text.
META = "meta"

#: What zipfile and numpy raise at bytes that are not what they should be.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    EOFError,
    OSError,
    LookupError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    # Numpy parses an array's header as Python text: its tokenizer, its literals and the types named there.
    tokenize.TokenError,
    SyntaxError,
    TypeError,
    AttributeError,
    AssertionError,
    MemoryError,
)


class NpzError(ValueError):
    """An NPZ file that is damaged, foreign or not allowed; the message says which, without the file's name."""


def write_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Write arrays and metadata; the same content gives the same bytes.

    Raises NpzError for an array of Python objects, a reserved name, or metadata that JSON cannot hold.
    """
    if META in arrays:
        raise NpzError(f"an array is named {META!r}, which is kept for the metadata; give it another name")
    try:
        text = json.dumps(meta, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise NpzError(f"the metadata is not JSON ({error}); write strings, finite numbers, lists and dicts") from None
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in {**arrays, META: np.array(text)}.items():
            if array.dtype.hasobject:
                raise NpzError(f"array {name!r} holds Python objects; convert it to numbers or text")
            # A fixed date: a checkpoint of the same state is the same file.
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(path: Path, limit: int | None = None, least: int = 1) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the metadata of an NPZ file.

    limit: of the bytes of all arrays together, by default what the file itself has, as where nothing is compressed;
    least: bytes that an entry of an array counts for if it takes fewer. Raises NpzError if the file is no NPZ, is
    damaged, holds objects or is larger than the limit; OSError if it cannot be opened.
    """
    with open(path, "rb") as file:
        return parse_npz(file, os.fstat(file.fileno()).st_size if limit is None else limit, least)


def parse_npz(file: IO[bytes], limit: int, least: int = 1) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """As :func:`read_npz`, from an open file or bytes in memory. Raises NpzError whatever the bytes are."""
    try:
        arrays = _read_members(file, limit, least)
    except NpzError:
        raise
    except _DAMAGE as error:
        raise NpzError(f"it is damaged or not an NPZ file ({error})") from None
    return arrays, _metadata(arrays)


def _read_members(file: IO[bytes], limit: int, least: int) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    total = 0
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                raise NpzError(f"it holds {info.filename!r}, which is not an array")
            if name in arrays:
                raise NpzError(f"it holds two arrays named {name!r}")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NpzError(f"array {name!r} is compressed in a way that numpy does not write")
            with archive.open(info) as member:
                entries = _check_header(name, member, info.file_size)
            total += max(info.file_size, entries * least)
            if total > limit:
                raise NpzError(f"its arrays take more than {max(limit >> 20, 1)} MB")
            with archive.open(info) as member:
                arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
                member.read()  # To the end, where zipfile compares its own checksum.
    return arrays


def _check_header(name: str, member: IO[bytes], size: int) -> int:
    """The number of entries. Raises unless the header announces numbers or text, and as many bytes as follow it."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    if dtype.hasobject:
        raise NpzError(f"array {name!r} holds pickled Python objects, which are never loaded")
    announced = math.prod(shape) * dtype.itemsize
    if announced != size - member.tell():
        raise NpzError(f"array {name!r} announces {announced} bytes and has {size - member.tell()}")
    return math.prod(shape)


def _metadata(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    text = arrays.pop(META, None)
    if text is None or text.dtype.kind != "U" or text.ndim:
        raise NpzError(f"it has no array {META!r} that holds a JSON text")
    # Numpy makes a str of any four bytes, and Python breaks on one that no text can have.
    if text.dtype.itemsize and int(text.reshape(1).view(text.dtype.byteorder + "u4").max()) > sys.maxunicode:
        raise NpzError(f"the JSON text in {META!r} holds what is no character")
    try:
        meta = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise NpzError(f"the JSON text in {META!r} is broken ({error})") from None
    if not isinstance(meta, dict):
        raise NpzError(f"the JSON text in {META!r} is not an object")
    return meta
