"""Stimulus files of any content: read, record by record, or refused in words that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from days import days, write_csv, write_jsonl, write_parquet
from effort import effort
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated

from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.modulator_parameters import MODULATORS
from cognitive_actors.files import InputError
from cognitive_actors.files.stimuli import count_stimuli, read_stimuli


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stimuli")


def _written() -> dict[str, list[bytes]]:
    """Good files of each format. Written where this file is imported, because strategies are made of them."""
    import tempfile

    records = days(agents=3, each=4)
    with tempfile.TemporaryDirectory() as directory:
        at = Path(directory)
        found = {
            "jsonl": [write_jsonl(at / "x.jsonl", records).read_bytes()],
            "csv": [write_csv(at / "x.csv", records).read_bytes()],
            "parquet": [write_parquet(at / "x.parquet", records).read_bytes()],
        }
    return found


GOOD = _written()


def read(path: Path, content: bytes, model: GenerativeModel) -> int:
    """Write and read a file. Returns the records, good and bad; -1 where it was refused as it should be."""
    path.write_bytes(content)
    found = 0
    try:
        counted = count_stimuli([path], model)
        for batch in read_stimuli([path], model, chunk=5):
            n = len(batch)
            assert len(batch.agents) == len(batch.time) == len(batch.lines) == n
            assert batch.observations.shape == (n, len(model.modalities)) and batch.delta.shape == (n, len(MODULATORS))
            assert (batch.observations >= -1).all() and (batch.observations < model.num_outcomes).all()
            assert (batch.observations >= 0).any(axis=1).all() and np.isfinite(batch.delta).all()
            assert not np.isinf(batch.time).any()
            # What is accepted and what is said can be written down.
            "".join([*batch.ids, *batch.agents, *(r.reason + r.text for r in batch.rejects)]).encode()
            assert all(reject.file == str(path) and reject.line > 0 and reject.reason for reject in batch.rejects)
            found += n + len(batch.rejects)
            assert batch.position == found
    except InputError as error:
        assert str(path) in str(error)
        return -1
    assert found == counted
    return found


@pytest.mark.parametrize("ending", list(GOOD))
def test_good_files_are_read(place: Path, model: GenerativeModel, ending: str) -> None:
    for content in GOOD[ending]:
        assert read(place / f"good.{ending}", content, model) == 12


@pytest.mark.parametrize("ending", list(GOOD))
@given(content=st.binary(max_size=300))
@effort(150)
def test_arbitrary_bytes(place: Path, model: GenerativeModel, ending: str, content: bytes) -> None:
    read(place / f"any.{ending}", content, model)


@given(content=mutated(GOOD["jsonl"]))
@effort(300)
def test_altered_json(place: Path, model: GenerativeModel, content: bytes) -> None:
    # A line is a record of its own: nothing that happens to one makes the file unreadable.
    assert read(place / "altered.jsonl", content, model) >= 0


@given(content=mutated(GOOD["csv"]))
@effort(300)
def test_altered_csv(place: Path, model: GenerativeModel, content: bytes) -> None:
    read(place / "altered.csv", content, model)


@given(content=mutated(GOOD["parquet"]))
@effort(300)
def test_altered_parquet(place: Path, model: GenerativeModel, content: bytes) -> None:
    read(place / "altered.parquet", content, model)


def test_parquet_with_fewer_rows_than_it_announces(place: Path, model: GenerativeModel, examples: Path) -> None:
    content = bytearray((examples / "first-days.parquet").read_bytes())
    # Found by flipping bytes: Arrow reads no row of it, and says nothing.
    for position, byte in ((1037, 0x45), (1743, 0xFC), (1744, 0xE3)):
        content[position] = byte
    path = place / "rows.parquet"
    path.write_bytes(content)
    assert count_stimuli([path], model) == 60
    with pytest.raises(InputError, match=r"rows\.parquet: damaged: it announces 60 rows and has 0"):
        list(read_stimuli([path], model))


def test_parquet_with_a_name_that_is_not_utf8(place: Path, model: GenerativeModel) -> None:
    path = place / "name.parquet"
    pq.write_table(pa.table({"weather": ["sun"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"weather", b"weath\xffr"))
    with pytest.raises(InputError, match=r"name\.parquet: the name of a column is not UTF-8"):
        count_stimuli([path], model)


NUMBERS = st.integers() | st.sampled_from([10**400, -(10**30), 2**63, 5, 0]) | st.floats()
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text() | st.sampled_from(["sun", "rain", "\ud800", "x" * 5000]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(["weather", "temperature", "wind", "comfort", "weahter", "", "\ud800"])
RECORDS = st.fixed_dictionaries(
    {"observation": st.dictionaries(NAMES, ANYTHING, max_size=4) | ANYTHING},
    optional={
        "id": ANYTHING,
        "agent": ANYTHING,
        "time": ANYTHING,
        "delta": st.dictionaries(st.sampled_from([*MODULATORS, "x"]), ANYTHING, max_size=3) | ANYTHING,
        "other": ANYTHING,
    },
)


@given(records=st.lists(RECORDS, min_size=1, max_size=8), ascii_only=st.booleans())
@effort(300)
def test_records_of_the_wrong_values(
    place: Path, model: GenerativeModel, records: list[dict[str, Any]], ascii_only: bool
) -> None:
    lines = [json.dumps(record, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for record in records]
    good = json.dumps({"observation": {"weather": "sun"}}).encode()
    path = place / "near.jsonl"
    assert read(path, b"\n".join([*lines, good]), model) == len(records) + 1
    # The good one is not lost, whatever stands before it.
    last = list(read_stimuli([path], model))[-1]
    assert last.lines.tolist()[-1:] == [len(records) + 1]


@pytest.mark.parametrize("opened", ["[", '{"a":'])
def test_brackets_of_any_depth(place: Path, model: GenerativeModel, opened: str) -> None:
    closed = {"[": "]", '{"a":': "}"}[opened]
    for field in ('"agent"', '"id"', '"time"', '"delta"', '"observation"'):
        nested = [f"{{{field}: {opened * n}1{closed * n}, " for n in [*range(1, 20), *range(900, 1001), 5000, 100_000]]
        lines = [line + '"observation": {"weather": "sun"}}' for line in nested]
        if field == '"observation"':
            lines = [f'{{"observation": {{"weather": {opened * n}1{closed * n}}}}}' for n in range(900, 1001)]
        assert read(place / "deep.jsonl", "\n".join(lines).encode(), model) == len(lines)


CELLS = st.sampled_from(
    ["sun", "1", "-1", "NaN", "1e400", "", '"', '""', '"a,b"', "ä", "\0", "x" * 200_000, "1_0", " 2 "]
)


@given(rows=st.lists(st.lists(CELLS, min_size=1, max_size=5), max_size=6))
@effort(150)
def test_cells_of_the_wrong_values(place: Path, model: GenerativeModel, rows: list[list[str]]) -> None:
    text = "\n".join(["id,time,weather,delta.dopamine", *map(",".join, rows), "last,1,sun,0"])
    assert read(place / "near.csv", text.encode(), model) == sum(any(map(str.strip, [",".join(r)])) for r in rows) + 1
