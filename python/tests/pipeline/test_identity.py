"""Each id once: the index finds every repetition, and is made anew from what was committed."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitive_actors.pipeline.identity import LATE_IDS, IdIndex

IDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=2)


@given(chunks=st.lists(st.lists(IDS, max_size=8), max_size=6))
@settings(max_examples=60)
def test_every_repetition_is_found(tmp_path_factory: object, chunks: list[list[str]]) -> None:
    path = Path(tmp_path_factory.mktemp("ids")) / "ids.sqlite"  # type: ignore[attr-defined]
    seen: set[str] = set()
    with closing(IdIndex(path)) as index:
        for ids in chunks:
            expected = []
            for position, name in enumerate(ids):
                if name in seen:
                    expected.append(position)
                seen.add(name)
            assert index.add(ids) == expected


def test_committed_ids_are_known(tmp_path: Path) -> None:
    part = tmp_path / "part.parquet"
    rows = pa.table({"id": ["a", "b\0"]}).replace_schema_metadata({LATE_IDS: json.dumps(["late"])})
    pq.write_table(rows, part)
    with closing(IdIndex(tmp_path / "ids.sqlite", [part])) as index:
        assert index.add(["x", "b\0", "late", "b", "a"]) == [1, 2, 4]
