"""Results on disk: whole or not at all, and joined in bounded memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitive_actors.files import InputError, Reject, append_rejects, concatenate, write_json, write_part
from cognitive_actors.files.atomic import remove_unfinished, replacing


def rows(*numbers: int) -> pa.Table:
    """A table of ids and numbers."""
    ids = pa.array([f"r{n}" for n in numbers], pa.string())
    return pa.table({"id": ids, "n": pa.array(numbers, pa.int64())})


@given(
    cuts=st.lists(st.integers(0, 9), max_size=6),
    row_group=st.integers(1, 12),
    inner=st.integers(1, 4),
)
@settings(max_examples=40)
def test_parts_join_to_the_same_file_wherever_they_were_cut(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], row_group: int, inner: int
) -> None:
    folder = tmp_path_factory.mktemp("results")
    total = sum(cuts)
    parts, begin = [], 0
    for i, length in enumerate(cuts):
        part = folder / f"part-{i}.parquet"
        pq.write_table(rows(*range(begin, begin + length)), part, row_group_size=inner)
        parts.append(part)
        begin += length
    write_part(folder / "one.parquet", rows(*range(total)))
    schema = rows().schema
    assert concatenate(parts, folder / "joined.parquet", schema=schema, row_group=row_group) == total
    assert concatenate([folder / "one.parquet"], folder / "same.parquet", row_group=row_group) == total
    assert (folder / "joined.parquet").read_bytes() == (folder / "same.parquet").read_bytes()
    joined = pq.ParquetFile(folder / "joined.parquet")
    assert joined.read().equals(rows(*range(total)))
    sizes = [joined.metadata.row_group(i).num_rows for i in range(joined.num_row_groups)]
    assert sizes == [row_group] * (total // row_group) + [total % row_group] * (total % row_group > 0)


def test_parts_that_do_not_fit_leave_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    write_part(out, rows(1))
    before = out.read_bytes()
    write_part(tmp_path / "a.parquet", rows(1, 2))
    write_part(tmp_path / "b.parquet", pa.table({"other": [1]}))
    (tmp_path / "c.parquet").write_bytes(b"nothing")
    for wrong, said in [
        ("b", "has the columns other: int64"),
        ("c", "not a Parquet file"),
        ("d", "not a Parquet file"),
    ]:
        with pytest.raises(InputError, match=f"{wrong}.parquet: {said}"):
            concatenate([tmp_path / "a.parquet", tmp_path / f"{wrong}.parquet"], out)
    with pytest.raises(InputError, match="no parts to join"):
        concatenate([], out)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet", "c.parquet", "out.parquet"]


def test_a_writer_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_json(path, {"records": 3, "name": "größe"})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"records": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8")) == {"records": 3, "name": "größe"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_can_be_removed(tmp_path: Path) -> None:
    write_json(tmp_path / "kept.json", 1)
    child = os.fork()
    if child == 0:
        with replacing(tmp_path / "lost.json") as file:
            file.write(b"half")
            file.flush()
            os._exit(9)
    os.waitpid(child, 0)
    assert not (tmp_path / "lost.json").exists()
    assert remove_unfinished(tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kept.json"]


def test_files_get_ordinary_permissions(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    (tmp_path / "b.json").write_text("1")
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "b.json").stat().st_mode


def test_rejects_are_written_once_when_a_run_is_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "rejects.jsonl"
    first, second = Reject("a.csv", 3, "why «so»", "x,\x00"), Reject("a\udcff.csv", 4, "that", "y")
    checkpoint = append_rejects(path, [first])
    append_rejects(path, [second])
    assert append_rejects(path, [second], keep=checkpoint) == path.stat().st_size
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [Reject(**line) for line in lines] == [first, second]
    assert append_rejects(path, [], keep=0) == 0
    with pytest.raises(InputError, match=r"rejects\.jsonl: 0 bytes, but 5 were written"):
        append_rejects(path, [], keep=5)
