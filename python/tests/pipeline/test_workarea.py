"""The work area: output appears whole or not at all, and a run that was killed anywhere goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from runs import contents, rejects, results

from cognitive_actors.files.batch import Reject
from cognitive_actors.files.errors import CheckpointError, InputError
from cognitive_actors.pipeline.workarea import Progress, WorkArea

SCHEMA = pa.schema([("id", pa.string())])
SOURCE = {"input": "a", "precision": "4.0"}
STATE = {"levels": np.arange(5.0)}


def open_area(out: Path, *, resume: bool = True) -> WorkArea:
    return WorkArea(out, SOURCE, resume=resume)


def add(area: WorkArea, chunk: int) -> None:
    """Ten results and one reject, as the chunk with this number."""
    ids = [f"{chunk}/{i}" for i in range(10)]
    area.add(pa.table({"id": ids}), [Reject("file", chunk, "why", "text")], 11 * (chunk + 1))


def killed_after(out: Path, chunks: int, committed: int) -> None:
    """The work area of a run that ended without a word."""
    with open_area(out, resume=False) as area:
        for chunk in range(chunks):
            add(area, chunk)
            if chunk + 1 == committed:
                area.commit(STATE)


def test_a_killed_run_goes_on_from_its_last_commit(tmp_path: Path) -> None:
    killed_after(tmp_path, chunks=5, committed=3)
    with open_area(tmp_path) as area:
        assert (area.committed.position, area.committed.results, area.committed.rejects) == (33, 30, 3)
        state = area.state()
        assert state is not None and np.array_equal(state["levels"], STATE["levels"])
        for chunk in range(3, 6):
            add(area, chunk)
        area.commit(STATE)
        area.publish(SCHEMA, {"records": 66})
        area.discard()
    assert results(tmp_path)["id"].to_pylist() == [f"{c}/{i}" for c in range(6) for i in range(10)]
    assert [r["line"] for r in rejects(tmp_path)] == list(range(6))
    assert contents(tmp_path).keys() == {"results.parquet", "rejects.jsonl", "summary.json"}


@pytest.mark.parametrize("published", [False, True])
def test_a_run_killed_while_publishing_publishes_again(tmp_path: Path, published: bool) -> None:
    killed_after(tmp_path, chunks=3, committed=3)
    for name in (".results.parquet.unfinished-0123", ".run/.part-00000009.parquet.unfinished-4567"):
        (tmp_path / name).write_text("half")
    if published:
        with open_area(tmp_path) as area:
            area.publish(SCHEMA, {"records": 33})
    with open_area(tmp_path) as area:
        area.publish(SCHEMA, {"records": 33})
        area.discard()
    assert len(rejects(tmp_path)) == 3 and results(tmp_path).num_rows == 30
    assert {path.name for path in tmp_path.iterdir()} == {"results.parquet", "rejects.jsonl", "summary.json"}


def test_rolling_back_forgets_what_was_not_committed(tmp_path: Path) -> None:
    with open_area(tmp_path) as area:
        add(area, 0)
        area.commit(STATE)
        committed = area.current
        add(area, 1)
        area.roll_back()
        assert area.current == committed
        add(area, 1)
        assert len(rejects(tmp_path / ".run")) == 2


def test_a_run_without_resume_begins_anew(tmp_path: Path) -> None:
    killed_after(tmp_path, chunks=3, committed=2)
    with open_area(tmp_path, resume=False) as area:
        assert area.committed == Progress()
        assert {path.name for path in area.directory.iterdir()} == {"lock", "rejects.jsonl"}
        assert area.state() is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**SOURCE, "input": "b"}, "had another input \\('a', now 'b'\\); give it the same"),
        ({"input": "a"}, "had another precision \\('4.0', now None\\)"),
    ],
)
def test_another_run_is_not_resumed(tmp_path: Path, source: dict[str, str], message: str) -> None:
    killed_after(tmp_path, chunks=2, committed=1)
    with pytest.raises(InputError, match=message):
        WorkArea(tmp_path, source, resume=True)
    with open_area(tmp_path) as area:
        assert area.committed.parts == 1


def test_damage_is_noticed(tmp_path: Path) -> None:
    killed_after(tmp_path, chunks=2, committed=2)
    state = next(tmp_path.glob(".run/state-*.npz"))
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)
    with open_area(tmp_path) as area, pytest.raises(CheckpointError, match=r"state-.*start again"):
        area.state()
    log = tmp_path / ".run" / "rejects.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-3])
    with pytest.raises(InputError, match="start again without resuming"):
        open_area(tmp_path)
    log.write_bytes(whole)
    (tmp_path / ".run" / "part-00000001.parquet").unlink()
    with pytest.raises(InputError, match=r"part-00000001.parquet: missing.*without --resume"):
        open_area(tmp_path)
    (tmp_path / ".run" / "progress.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(InputError, match=r"progress.json: not the progress of a run"):
        open_area(tmp_path)
    with open_area(tmp_path, resume=False) as area:
        assert area.committed == Progress()


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with open_area(tmp_path) as area:
        with pytest.raises(InputError, match="another run is writing there; wait for it, or write another --out"):
            open_area(tmp_path)
        area.discard()
    with open_area(tmp_path) as again:
        add(again, 0)
