"""Each id once: an index of the ids that were read, on disk so that memory does not grow with the input."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

#: Metadata of a part: the ids of records that were read but came too late, which are in no row.
LATE_IDS = b"late_ids"


class IdIndex:
    """The ids seen so far. It is scratch: a resumed run makes it anew from the results that are committed."""

    def __init__(self, path: Path, committed: Iterable[Path] = ()) -> None:
        path.unlink(missing_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        # Nothing here needs to survive a crash, so nothing waits for the disk.
        for pragma in ("journal_mode=MEMORY", "synchronous=OFF", "cache_size=-16000", "locking_mode=EXCLUSIVE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
        for part in committed:
            with pq.ParquetFile(part, pre_buffer=False) as file:
                metadata = file.schema_arrow.metadata or {}
                self.add(json.loads(metadata.get(LATE_IDS, b"[]")))
                for batch in file.iter_batches(columns=["id"], use_threads=False):
                    self.add(batch.column(0).to_pylist())

    def add(self, ids: Sequence[str]) -> list[int]:
        """Remember ids; returns the positions of those that had been seen before, in this call or earlier."""
        self._db.execute("BEGIN")
        before = self._db.total_changes
        self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?)", ((i,) for i in ids))
        if self._db.total_changes - before == len(ids):
            self._db.execute("COMMIT")
            return []
        self._db.execute("ROLLBACK")
        self._db.execute("BEGIN")
        repeated = [
            position
            for position, i in enumerate(ids)
            if self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (i,)).rowcount == 0
        ]
        self._db.execute("COMMIT")
        return repeated

    def close(self) -> None:
        self._db.close()
