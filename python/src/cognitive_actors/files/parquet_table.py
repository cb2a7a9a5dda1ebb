"""Stimuli as Parquet: one record per row, read row group by row group."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.model import GenerativeModel
from .assemble import Fields
from .batch import Batch, quoted
from .columns import Faults, shown
from .errors import InputError
from .table_columns import TableColumns


class ParquetTable:
    """A Parquet file, read against a model. Missing values are nulls; a row is known by its number, from 1."""

    def __init__(self, path: Path, model: GenerativeModel) -> None:
        self.path = path
        self._fields = Fields(model)
        try:
            with pq.ParquetFile(path) as file:
                schema = file.schema_arrow
                names = schema.names
                self._group_rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        except UnicodeDecodeError:
            raise InputError(f"{path}: the name of a column is not UTF-8; write the file again") from None
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise InputError(
                f"{path}: not a Parquet file ({error}); write it again, or name it .jsonl or .csv"
            ) from None
        self._columns = TableColumns(path, names, model)
        for column in schema:
            self._check_type(column)

    def count(self) -> int:
        """The number of records, good and bad."""
        return sum(self._group_rows)

    def read(self, size: int, skip: int, prefix: str, start: int) -> Iterator[Batch]:
        """Batches of the records after the first ``skip``; ``start`` counts all records before the first batch."""
        group, row = 0, 0
        while group < len(self._group_rows) and row + self._group_rows[group] <= skip:
            row += self._group_rows[group]
            group += 1
        skip -= row
        try:
            with pq.ParquetFile(self.path) as file:
                groups = range(group, len(self._group_rows))
                for table in file.iter_batches(size, row_groups=groups, use_threads=False):
                    part = table.slice(skip)
                    skip -= table.num_rows - part.num_rows
                    row += table.num_rows
                    if part.num_rows:
                        yield self._batch(part, range(row - part.num_rows + 1, row + 1), prefix, start)
                        start += part.num_rows
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{self.path}: damaged after row {row} ({error}); write the file again") from None
        if row != self.count():
            raise InputError(f"{self.path}: damaged: it announces {self.count()} rows and has {row}; write it again")

    def _batch(self, table: pa.RecordBatch, rows: range, prefix: str, start: int) -> Batch:
        faults: Faults = {}
        columns = {name: _values(name, table.column(name), faults) for name in table.schema.names}
        for name in set(columns) & set(self._columns.modalities):
            if pa.types.is_floating(table.schema.field(name).type):
                columns[name] = [_whole(value) for value in columns[name]]
        for position in faults:
            for values in columns.values():
                values[position] = None

        def text(position: int) -> str:
            return quoted(json.dumps({name: columns[name][position] for name in columns}, ensure_ascii=False))

        raw = self._columns.chunk(columns, rows, text, faults)
        return self._fields.assemble(raw, str(self.path), prefix, start)

    def _check_type(self, column: pa.Field) -> None:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        textual = any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
        whole = pa.types.is_integer(kind)
        number = whole or pa.types.is_floating(kind)
        if column.name in ("id", "agent"):
            allowed, remedy = textual or whole, "text or whole numbers"
        elif column.name in self._columns.modalities:
            # Whole numbers with gaps come as floats from pandas.
            allowed, remedy = textual or number, "names or whole numbers of outcomes"
        else:
            allowed, remedy = number, "numbers (of seconds for the time)"
        if not allowed and not pa.types.is_null(kind):
            raise InputError(f"{self.path}: the column {column.name!r} holds {column.type}; write {remedy}")


def _values(name: str, column: pa.Array, faults: Faults) -> list[Any]:
    """The values of a column; texts that are not UTF-8 are noted and come back as None."""
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        values = []
        for position, scalar in enumerate(column):
            try:
                values.append(scalar.as_py())
            except UnicodeDecodeError:
                faults[position] = f"the text in column {shown(name)} is not UTF-8; write it in the encoding UTF-8"
                values.append(None)
    return values


def _whole(value: float | None) -> float | int | None:
    return int(value) if value is not None and math.isfinite(value) and value == int(value) else value
