"""Results on disk: Parquet parts, their concatenation, JSON, and the log of rejected records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .atomic import replacing, sync_directory
from .batch import Reject
from .errors import InputError

#: Rows of one row group of a concatenated file: as small as compresses well, because as many are held in memory.
ROW_GROUP = 16_384


def write_part(path: str | Path, table: pa.Table) -> None:
    """Write one Parquet file that is there whole or not at all, and on the disk when this returns."""
    with replacing(path) as file:
        pq.write_table(table, file, compression="zstd")


def concatenate(
    parts: Sequence[str | Path], out: str | Path, *, schema: pa.Schema | None = None, row_group: int = ROW_GROUP
) -> int:
    """Join Parquet files into one, in the order given, and return its number of rows.

    Memory holds one row group at a time, however long the parts are. The row groups of the result have ``row_group``
    rows each, wherever the parts were cut, so the same rows give the same file. ``schema`` is needed only where
    there may be no parts at all.

    Raises InputError, naming the part, for a part that is not Parquet or has other columns than the first.
    """
    if schema is None:
        if not parts:
            raise InputError(f"{out}: no parts to join and no schema; write at least one part")
        schema = _open_part(parts[0]).schema_arrow
    rows = 0
    with replacing(out) as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for table in _regrouped(_row_groups(parts, schema), row_group):
            writer.write_table(table, row_group_size=row_group)
            rows += table.num_rows
    return rows


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON for people and machines, whole or not at all. Raises ValueError for NaN and infinity."""
    with replacing(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def append_rejects(path: str | Path, rejects: Iterable[Reject], *, keep: int | None = None) -> int:
    """Append rejected records as JSON lines and return the length of the file in bytes.

    ``keep`` first cuts the file to that many bytes: the length returned when the last checkpoint was made, so that
    a run that is taken up again writes each reject once. Raises InputError if the file is shorter than that.
    """
    path = Path(path)
    created = not path.exists()
    with open(path, "ab") as file:
        if keep is not None:
            length = file.seek(0, os.SEEK_END)
            if length < keep:
                raise InputError(f"{path}: {length} bytes, but {keep} were written; start again without resuming")
            file.truncate(keep)
            file.seek(keep)
        # A file name that is not UTF-8 holds surrogates; backslashreplace turns them into JSON's own escapes.
        file.writelines(
            json.dumps(asdict(reject), ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
            for reject in rejects
        )
        file.flush()
        os.fsync(file.fileno())
        length = file.tell()
    if created:
        sync_directory(path.parent)
    return length


def _open_part(path: str | Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet file that can be read ({error}); write this part again") from None


def _row_groups(parts: Iterable[str | Path], schema: pa.Schema) -> Iterator[pa.Table]:
    for path in parts:
        with _open_part(path) as part:
            if not part.schema_arrow.equals(schema):
                raise InputError(
                    f"{path}: has the columns {_columns(part.schema_arrow)}, the others {_columns(schema)};"
                    " join only parts of one run"
                )
            for group in range(part.num_row_groups):
                yield part.read_row_group(group, use_threads=False)


def _regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows, cut every ``rows`` rows."""
    pending: pa.Table | None = None
    for table in tables:
        pending = table if pending is None else pa.concat_tables([pending, table])
        while pending.num_rows >= rows:
            yield pending.slice(0, rows).combine_chunks()
            pending = pending.slice(rows)
    if pending is not None and pending.num_rows:
        yield pending.combine_chunks()


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
