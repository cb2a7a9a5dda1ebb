"""Reading stimuli: records of what agents observe, from JSONL, CSV and Parquet files, in bounded memory.

A record has five fields, all but one of them optional:

``observation``  modality → name or number of the outcome, or null; at least one outcome must be there
``agent``        whose record it is, "0" by default
``id``           by default FILE:LINE, with the file's name without its ending
``time``         seconds
``delta``        modulator → impulse

In CSV and Parquet each modality is a column, and so is each impulse (``delta.dopamine``); a missing value is an
empty cell or a null. Numbers are accepted as ids and agents and taken as their digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from ..core.model import GenerativeModel
from .batch import Batch, Reject
from .csv_table import CsvTable
from .errors import InputError
from .jsonl import JsonLines
from .parquet_table import ParquetTable

__all__ = ["Batch", "InputError", "Reject", "count_stimuli", "read_stimuli"]

CHUNK = 8192


class StimulusFile(Protocol):
    """One format: opened and checked at construction, so that a file that is no good is found before any work."""

    def __init__(self, path: Path, model: GenerativeModel) -> None: ...

    def count(self) -> int:
        """The number of records, good and bad."""
        ...

    def read(self, size: int, skip: int, prefix: str, start: int) -> Iterator[Batch]:
        """Batches of the records after the first ``skip``; ``start`` counts all records before the first batch."""
        ...


FORMATS: dict[str, type[StimulusFile]] = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".csv": CsvTable,
    ".parquet": ParquetTable,
    ".pq": ParquetTable,
}


def read_stimuli(
    paths: Sequence[str | Path], model: GenerativeModel, *, chunk: int = CHUNK, skip: int = 0
) -> Iterator[Batch]:
    """Batches of at most ``chunk`` records, file after file in the order given, never of two files at once.

    A record that is malformed becomes a Reject in its batch and does not touch the others. ``skip`` leaves out the
    first records, good and bad counted alike, without parsing them: the ``position`` of the last batch that was
    finished. Memory holds one chunk, whatever the length of the files.

    Raises InputError at once, before the first batch, for a file that cannot be read at all: missing, a directory,
    of an unknown format, a table with unknown columns. While reading, only for a Parquet file damaged within.
    """
    if chunk < 1:
        raise ValueError(f"chunk is {chunk}; write 1 or more records")
    files = _open(paths, model)
    prefixes = _prefixes([Path(path) for path in paths])
    return _batches(files, prefixes, chunk, skip)


def count_stimuli(paths: Sequence[str | Path], model: GenerativeModel) -> int:
    """The number of records in all files, good and bad, much faster than reading them. Raises as read_stimuli."""
    return sum(file.count() for file in _open(paths, model))


def _batches(files: list[StimulusFile], prefixes: list[str], chunk: int, skip: int) -> Iterator[Batch]:
    position = 0
    for file, prefix in zip(files, prefixes, strict=True):
        passed = 0
        if skip > position:
            passed = min(file.count(), skip - position)
            position += passed
        for batch in file.read(chunk, passed, prefix, position):
            yield batch
            position = batch.position


def _open(paths: Sequence[str | Path], model: GenerativeModel) -> list[StimulusFile]:
    opened: list[StimulusFile] = []
    seen: set[Path] = set()
    for path in map(Path, paths):
        kind = FORMATS.get(path.suffix.lower())
        if kind is None:
            raise InputError(f"{path}: unknown ending {path.suffix!r}; name the file .jsonl, .csv or .parquet")
        try:
            real = path.resolve(strict=True)
            opened.append(kind(path, model))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}; write the path of a file that can be read") from None
        if real in seen:
            raise InputError(f"{path}: named twice; name each file once")
        seen.add(real)
    return opened


def _prefixes(paths: list[Path]) -> list[str]:
    """What default ids begin with: the file's name, or its path where two files have one name."""
    stems = [path.stem for path in paths]
    return [stem if stems.count(stem) == 1 else str(path) for path, stem in zip(paths, stems, strict=True)]
