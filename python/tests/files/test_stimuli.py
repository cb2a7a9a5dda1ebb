"""Stimuli from disk: every record is a result or a reject, whatever the bytes are, in all three formats."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.files import Batch, InputError, Reject, count_stimuli, read_stimuli
from cognitive_actors.files.lines import LINE_LIMIT


def read(paths: Sequence[Path], model: GenerativeModel, **options: Any) -> tuple[dict[str, list[Any]], list[Reject]]:
    """All records as columns, and all rejects."""
    batches = list(read_stimuli(paths, model, **options))
    return columns(batches), [reject for batch in batches for reject in batch.rejects]


def columns(batches: Sequence[Batch]) -> dict[str, list[Any]]:
    """The columns of batches joined, NaN as None so that they can be compared."""
    return {
        "id": [name for batch in batches for name in batch.ids],
        "agent": [name for batch in batches for name in batch.agents],
        "time": [None if np.isnan(t) else t for batch in batches for t in batch.time.tolist()],
        "observations": [row for batch in batches for row in batch.observations.tolist()],
        "delta": [row for batch in batches for row in batch.delta.tolist()],
        "line": [line for batch in batches for line in batch.lines.tolist()],
    }


@pytest.fixture
def jsonl(tmp_path: Path) -> Path:
    """Where to write a file."""
    return tmp_path / "records.jsonl"


def test_fields_and_their_defaults(jsonl: Path, model: GenerativeModel) -> None:
    jsonl.write_text(
        '{"observation": {"weather": "rain", "wind": 2}}\n'
        '{"id": 7, "agent": "x", "time": 3, "observation": {"temperature": "mild", "wind": null}, "delta": null}\n'
        '{"observation": {"weather": 0}, "delta": {"norepinephrine": -1, "serotonin": 0.25, "oxytocin": null}}'
    )
    (batch,) = read_stimuli([jsonl], model)
    assert columns([batch]) == {
        "id": ["records:1", "7", "records:3"],
        "agent": ["0", "x", "0"],
        "time": [None, 3.0, None],
        "observations": [[1, -1, 2, -1], [-1, 1, -1, -1], [0, -1, -1, -1]],
        "delta": [[0.0] * 5, [0.0] * 5, [0, 0.25, 0, 0, -1]],
        "line": [1, 2, 3],
    }
    assert (batch.source, batch.start, batch.position, batch.rejects) == (str(jsonl), 0, 3, ())
    assert [x.dtype for x in (batch.time, batch.observations, batch.delta, batch.lines)] == [
        np.float64,
        np.int64,
        np.float64,
        np.int64,
    ]


def test_the_formats_agree(examples: Path, model: GenerativeModel) -> None:
    first = [read([examples / f"first-days.{suffix}"], model) for suffix in ("csv", "parquet")]
    everything, rejects = read([examples / "seattle-weather.jsonl"], model)
    assert not rejects and len(everything["id"]) == 1461
    for column in ("id", "agent", "time", "observations", "delta"):
        assert first[0][0][column] == first[1][0][column] == everything[column][:60]


REASONS = [
    "broken JSON at column 80",
    "not an object",
    'no "observation"',
    "NaN is not JSON; write a finite number",
    "unknown modulator \"dopamin\"; did you mean 'dopamine'?",
    "unknown modality \"wheather\"; did you mean 'weather'?",
    "'weather' is 5, out of range; write a number from 0 to 4",
    "no outcome \"reign\"; did you mean 'rain'?",
    "'weather' is true; write the name of an outcome",
    "byte 44 is not UTF-8",
]


def test_each_kind_of_malformed_record(examples: Path, model: GenerativeModel) -> None:
    path = examples / "broken.jsonl"
    good, rejects = read([path], model)
    assert good["id"] == []
    assert [(reject.file, reject.line) for reject in rejects] == [(str(path), line) for line in range(1, 11)]
    for reject, reason in zip(rejects, REASONS, strict=True):
        assert reason in reject.reason
        assert reject.text.startswith(('{"id": "2016', '["2016'))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ('{"observation": {"weather": "rain"}} {}', "more text after the first value"),
        ('{"observations": {"weather": "rain"}}', "unknown field \"observations\"; did you mean 'observation'?"),
        ('{"observation": {"weather": "rain", "weather": "sun"}}', '"weather" stands twice'),
        ('{"observation": {"weather": null}}', "nothing is observed"),
        ('{"observation": {}}', "nothing is observed"),
        ('{"observation": ["rain"]}', '"observation" is ["rain"]; write an object'),
        ('{"observation": {"weather": 1.0}}', "'weather' is 1.0; write the name"),
        ('{"observation": {"weather": ["rain"]}}', "'weather' is [\"rain\"]; write the name"),
        ('{"observation": {"weather": -1}}', "'weather' is -1, out of range"),
        ('{"observation": {"weather": 1}, "time": "noon"}', 'time is "noon"; write a finite number'),
        ('{"observation": {"weather": 1}, "time": true}', "time is true; write a finite number"),
        ('{"observation": {"weather": 1}, "time": 1e999}', "time is Infinity; write a finite number"),
        ('{"observation": {"weather": 1}, "time": 1' + "0" * 400 + "}", "write a finite number"),
        ('{"observation": {"weather": 1}, "time": 1' + "0" * 5000 + "}", "thousands of digits"),
        ('{"observation": {"weather": 1}, "delta": 1}', '"delta" is 1; write an object'),
        ('{"observation": {"weather": 1}, "delta": {"dopamine": "high"}}', "delta of 'dopamine' is \"high\""),
        ('{"observation": {"weather": 1}, "id": ""}', 'id is ""; write a non-empty text'),
        ('{"observation": {"weather": 1}, "id": 1.5}', "id is 1.5; write a non-empty text"),
        ('{"observation": {"weather": 1}, "agent": true}', "agent is true; write a non-empty text"),
        ('{"observation": {"weather": 1}, "agent": "\\ud800"}', 'agent is "\\ud800"'),
        ("[" * 100_000, "nested too deep"),
        ('{"observation": {"weather": 1}}' + " " * LINE_LIMIT + "x", "longer than 1,000,000 bytes"),
    ],
)
def test_a_malformed_record_is_rejected_alone(jsonl: Path, model: GenerativeModel, record: str, reason: str) -> None:
    good = '{"observation": {"weather": "rain"}}'
    jsonl.write_text("\n".join([good, record, good, ""]))
    columns, (reject,) = read([jsonl], model)
    assert columns["line"] == [1, 3]
    assert reject.line == 2
    assert reason in reject.reason
    assert reject.text == record[:2000]


GOOD = b'{"observation": {"wind": 1}}'


@given(
    lines=st.lists(st.sampled_from([GOOD, b"", b" \t"]) | st.binary(max_size=12)),
    chunk=st.integers(1, 5),
    skip=st.integers(0, 9),
    end=st.sampled_from([b"\n", b"\r\n"]),
    mark=st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
@settings(max_examples=100)
def test_no_bytes_cost_a_good_record(
    tmp_path_factory: pytest.TempPathFactory,
    model: GenerativeModel,
    lines: list[bytes],
    chunk: int,
    skip: int,
    end: bytes,
    mark: bytes,
) -> None:
    content = mark + end.join(lines)
    path = tmp_path_factory.mktemp("stimuli") / "records.jsonl"
    path.write_bytes(content)
    numbered = enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1)
    records = [(i, line.strip()) for i, line in numbered if line.strip()]
    batches = list(read_stimuli([path], model, chunk=chunk, skip=skip))
    assert count_stimuli([path], model) == len(records)
    assert columns(batches)["line"] == [i for i, line in records[skip:] if line == GOOD]
    assert [r.line for b in batches for r in b.rejects] == [i for i, line in records[skip:] if line != GOOD]
    # The chunks are cut where they would be without a skip.
    cuts = [start for start in range(len(records)) if start == skip or (start > skip and start % chunk == 0)]
    assert [b.start for b in batches] == cuts
    assert [b.position for b in batches[:-1]] == [b.start for b in batches[1:]]
    for batch in batches:
        for reject in batch.rejects:
            reject.text.encode()


@pytest.mark.parametrize("skip", [0, 1, 59, 60, 61, 125, 130, 190, 500])
def test_a_run_resumes_where_it_stopped(examples: Path, model: GenerativeModel, skip: int) -> None:
    paths = [examples / name for name in ("first-days.csv", "broken.jsonl", "first-days.parquet")]
    whole, rejects = read(paths, model, chunk=7)
    rest, rest_rejects = read(paths, model, chunk=11, skip=skip)
    gone = len(whole["id"]) + len(rejects) - len(rest["id"]) - len(rest_rejects)
    assert gone == min(skip, 130) and count_stimuli(paths, model) == 130
    assert rest == {name: values[len(values) - len(rest["id"]) :] for name, values in whole.items()}
    assert rest_rejects == rejects[len(rejects) - len(rest_rejects) :]


def test_files_of_one_name_give_different_ids(tmp_path: Path, model: GenerativeModel) -> None:
    paths = [tmp_path / "a" / "x.jsonl", tmp_path / "b" / "x.jsonl", tmp_path / "y.jsonl"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(GOOD)
    good, _ = read(paths, model)
    assert good["id"] == [f"{paths[0]}:1", f"{paths[1]}:1", "y:1"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path, model: GenerativeModel) -> None:
    record = json.dumps({"observation": {"weather": "rain", "wind": 1}, "time": 1.5}) + "\n"
    peaks = []
    for n in (4_000, 40_000):
        path = tmp_path / f"{n}.jsonl"
        path.write_text(record * n)
        tracemalloc.start()
        assert sum(len(batch) for batch in read_stimuli([path], model, chunk=500)) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The shorter file does not fill one read of 1 MB.
    assert peaks[1] < peaks[0] + 4 * (1 << 20)


@pytest.mark.parametrize("name", ["missing.jsonl", "folder.csv", "folder.parquet", "folder.jsonl", "x.json", "x"])
def test_files_that_cannot_be_read_are_named_at_once(tmp_path: Path, model: GenerativeModel, name: str) -> None:
    if name.startswith("folder"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=rf"{name}: .*(write|name)"):
        read_stimuli([tmp_path / name], model)


def test_a_file_named_twice_is_refused(examples: Path, model: GenerativeModel) -> None:
    with pytest.raises(InputError, match="named twice"):
        read_stimuli([examples / "first-days.csv", examples / "." / "first-days.csv"], model)
