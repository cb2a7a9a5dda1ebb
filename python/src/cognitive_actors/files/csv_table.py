"""Stimuli as CSV: a header, then one record per line."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.model import GenerativeModel
from .assemble import Fields, RawChunk
from .batch import Batch, quoted
from .columns import Faults
from .errors import InputError
from .lines import count_lines, decoded, first_line, line_chunks
from .table_columns import TableColumns


class CsvTable:
    """A CSV file, read against a model. A record is one line: a quoted cell may hold commas but no line ends.

    That way a quote that is never closed spoils one line and not the rest of the file.
    """

    def __init__(self, path: Path, model: GenerativeModel) -> None:
        self.path = path
        self._fields = Fields(model, text=True)
        faults: Faults = {}
        (header,) = decoded([first_line(path)], faults)
        cells = _cells(header)
        if faults or cells is None or not header.strip():
            raise InputError(f"{path}: the first line is no CSV header; write the names of the columns, in UTF-8")
        self._columns = TableColumns(path, [cell.strip() for cell in cells], model)

    def count(self) -> int:
        """The number of records, good and bad."""
        return count_lines(self.path) - 1

    def read(self, size: int, skip: int, prefix: str, start: int) -> Iterator[Batch]:
        """Batches of the records after the first ``skip``; ``start`` counts all records before the first batch."""
        skip += 1  # The header.
        for numbers, lines in line_chunks(self.path, size):
            if skip >= len(lines):
                skip -= len(lines)
                continue
            raw = self._parse(numbers[skip:], lines[skip:])
            skip = 0
            yield self._fields.assemble(raw, str(self.path), prefix, start)
            start += len(raw.lines)

    def _parse(self, numbers: list[int], lines: list[bytes]) -> RawChunk:
        faults: Faults = {}
        width = len(self._columns.names)
        rows: list[list[str]] = []
        for position, text in enumerate(decoded(lines, faults)):
            cells = text.split(",") if '"' not in text else _cells(text)
            if position not in faults:
                if cells is None:
                    faults[position] = "a quoted cell does not end on this line; close the quote, write no line ends"
                elif len(cells) != width:
                    faults[position] = (
                        f"{len(cells)} cells, but the header names {width} columns;"
                        f" write {width}, and cells that hold commas in quotes"
                    )
            rows.append([""] * width if position in faults or cells is None else cells)
        columns: dict[str, Sequence[Any]] = dict(zip(self._columns.names, zip(*rows, strict=True), strict=True))
        for name in {"id", "agent"} & columns.keys():
            columns[name] = [cell.strip() or None for cell in columns[name]]
        return self._columns.chunk(columns, numbers, lambda position: quoted(lines[position]), faults)


def _cells(text: str) -> list[str] | None:
    """The cells of one line, None where a quote is left open or stands in the wrong place."""
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error:
        return None
