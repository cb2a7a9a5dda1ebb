"""One stimulus, a stream, a file of any format and any number of shards: the same results."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from days import days, write_csv, write_jsonl, write_parquet

from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.modulator_parameters import MODULATORS
from cognitive_actors.files.errors import InputError
from cognitive_actors.pipeline.online import Session
from cognitive_actors.pipeline.run import RejectedInput, RunRequest, run

pytestmark = pytest.mark.usefixtures("embedded_ray")

RECORDS = days(5, 12)
STOCHASTIC = CycleSettings(alpha=2.0, seed=7)


def table_of(path: Path, examples: Path, out: Path, **changes: object) -> pa.Table:
    chosen = {"shards": 1, **changes}
    run(RunRequest(paths=[path], model=examples / "umbrella.yaml", out=out, **chosen))  # type: ignore[arg-type]
    return pq.read_table(out / "results.parquet")


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_every_format_gives_the_same(write: Callable[..., Path], examples: Path, tmp_path: Path) -> None:
    expected = table_of(write_jsonl(tmp_path / "days.jsonl", RECORDS), examples, tmp_path / "jsonl")
    ending = "csv" if write is write_csv else "parquet"
    assert table_of(write(tmp_path / f"days.{ending}", RECORDS), examples, tmp_path / ending).equals(expected)


def test_online_stream_and_file_agree(examples: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "days.jsonl", RECORDS)
    table = table_of(path, examples, tmp_path / "out", shards=2, chunk=17, settings=STOCHASTIC).to_pylist()
    with Session(examples / "umbrella.yaml", STOCHASTIC) as session:
        online = [session.step(record) for record in RECORDS]
    with Session(examples / "umbrella.yaml", STOCHASTIC) as session:
        stream = list(session.stream(RECORDS))
    for row, one, streamed in zip(table, online, stream, strict=True):
        assert one == streamed
        assert one["id"] == row["id"]
        assert one["action"]["carrying"] == row["action.carrying"]
        assert {c["modality"] for c in one["broadcast"]["broadcast"]} == {
            name for name in ("weather", "temperature", "wind", "comfort") if row[f"broadcast.{name}"]
        }
        levels = [row[name] for name in MODULATORS]
        assert np.allclose(list(one["new_state"].values()), levels, atol=1e-5)
        assert abs(one["free_energy"] - row["free_energy"]) < 1e-5


BROKEN = [
    '{"id": "x1", "observation": {"weather": "rain"',
    '{"id": "x2"}',
    '{"id": "x3", "observation": {"weather": NaN}}',
    '{"id": "x4", "observation": {"weather": "rain"}, "delta": {"melatonin": 0.1}}',
    '{"id": "x5", "observation": {"weather": 17}}',
    json.dumps({**RECORDS[0], "time": 99.0}),  # the id of the first record
    '{"id": "x6", "agent": "agent-0", "time": -5, "observation": {"weather": "rain"}}',
]


def test_bad_records_are_set_aside_and_good_ones_go_on(examples: Path, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "mixed.jsonl", [*RECORDS, *BROKEN])
    out = tmp_path / "out"
    summary = run(RunRequest(paths=[path], model=examples / "umbrella.yaml", out=out, shards=1, on_error="skip"))
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert summary["records"] == len(RECORDS) + len(BROKEN) == summary["results"] + summary["rejects"]
    assert [reject["line"] for reject in rejects] == [len(RECORDS) + 1 + i for i in range(len(BROKEN))]
    words = ["broken JSON", "observation", "NaN", "melatonin", "out of range", "read before", "backwards"]
    for reject, word in zip(rejects, words, strict=True):
        assert word in reject["reason"]
    clean = table_of(write_jsonl(tmp_path / "clean.jsonl", RECORDS), examples, tmp_path / "clean")
    assert pq.read_table(out / "results.parquet")["id"].equals(clean["id"])


@pytest.mark.parametrize("line", BROKEN)
def test_a_bad_record_stops_the_run_before_anything_is_replaced(line: str, examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    table_of(write_jsonl(tmp_path / "clean.jsonl", RECORDS), examples, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    bad = write_jsonl(tmp_path / "bad.jsonl", [*RECORDS, line])
    with pytest.raises(RejectedInput, match=rf"bad\.jsonl:{len(RECORDS) + 1}: "):
        table_of(bad, examples, out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_an_empty_file_is_a_run_of_nothing(examples: Path, tmp_path: Path) -> None:
    assert table_of(write_jsonl(tmp_path / "empty.jsonl", []), examples, tmp_path / "out").num_rows == 0


def test_a_session_refuses_what_a_run_would_reject(examples: Path) -> None:
    with Session(examples / "umbrella.yaml") as session:
        session.step({"agent": "a", "time": 5, "observation": {"weather": "sun"}})
        for stimulus, word in (
            ({"observation": {"weather": "hail"}}, "hail"),
            ({"observation": {}}, "observed"),
            ({"agent": "a", "time": 4, "observation": {"weather": "sun"}}, "backwards"),
        ):
            with pytest.raises(InputError, match=word):
                session.step(stimulus)
