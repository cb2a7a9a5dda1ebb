"""What only CSV and Parquet can do: headers, quotes, column types, row groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.files import Batch, InputError, read_stimuli


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Where to write a CSV file."""
    return tmp_path / "table.csv"


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """Where to write a Parquet file."""
    return tmp_path / "table.parquet"


def only(path: Path, model: GenerativeModel) -> Batch:
    """The one batch of a small file."""
    (batch,) = read_stimuli([path], model)
    return batch


def test_csv_cells(csv: Path, model: GenerativeModel) -> None:
    csv.write_bytes(
        b'\xef\xbb\xbfid,agent, weather,wind,time,delta.dopamine\r\n"a,1",x,rain,,1.5,\r\n\r\n, y , sun ,2,,-.5\r\n'
    )
    batch = only(csv, model)
    assert batch.ids == ["a,1", "table:4"]
    assert batch.agents == ["x", "y"]
    assert batch.observations.tolist() == [[1, -1, -1, -1], [2, -1, 2, -1]]
    assert batch.time[0] == 1.5
    assert batch.delta[:, 0].tolist() == [0, -0.5]
    assert not batch.rejects


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"rain", "1 cells, but the header names 2 columns"),
        (b"rain,1,", "3 cells, but the header names 2 columns"),
        (b'"rain,1', "does not end on this line"),
        (b'"rain"x,1', "does not end on this line"),
        (b"reign,1", "did you mean 'rain'?"),
        (b"null,1", "leave the cell empty where nothing was observed"),
        (b"5,1", "out of range; write a number from 0 to 4"),
        (b"-1,1", "out of range"),
        (b",1", "nothing is observed"),
        (b"rain,nan", 'time is "nan"; write a finite number'),
        (b"rain,1_0", "write a finite number"),
        (b"rain,noon", "write a finite number"),
        (b"\xff,1", "byte 1 is not UTF-8"),
        (b"r" * 1_000_001, "longer than 1,000,000 bytes"),
    ],
)
def test_a_malformed_line_is_rejected_alone(csv: Path, model: GenerativeModel, line: bytes, reason: str) -> None:
    csv.write_bytes(b"weather,time\nrain,1\n" + line + b"\nsun,2\n")
    batch = only(csv, model)
    assert batch.lines.tolist() == [2, 4]
    assert batch.observations[:, 0].tolist() == [1, 2]
    (reject,) = batch.rejects
    assert reject.line == 3 and reason in reject.reason


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "the first line is no CSV header"),
        ("2012-01-01,rain,cold", 'unknown column "2012-01-01".*must name the columns'),
        ("weather;wind", "unknown column"),
        ("weather,wnd", "unknown column \"wnd\"; did you mean 'wind'"),
        ("weather,wind,weather", "'weather' is there twice"),
        ("weather,delta.dopamin", "did you mean 'delta.dopamine'"),
        ("id,time", "no column holds observations; .*'weather', 'temperature'"),
        ('weather,"wind', "no CSV header"),
    ],
)
def test_headers_are_checked_at_once(csv: Path, model: GenerativeModel, header: str, said: str) -> None:
    csv.write_text(header + "\nrain,1\n")
    with pytest.raises(InputError, match=f"table.csv: .*{said}"):
        read_stimuli([csv], model)


def write(path: Path, row_group: int = 2, **columns: Any) -> Path:
    """A Parquet file with small row groups."""
    pq.write_table(pa.table(columns), path, row_group_size=row_group)
    return path


def test_parquet_types(parquet: Path, model: GenerativeModel) -> None:
    batch = only(
        write(
            parquet,
            row_group=10,
            id=[1, None, 3, 4, 5],
            weather=pa.array(["rain", None, "sun", "snow", "fog"]).dictionary_encode(),
            wind=[1.0, 2.0, None, float("nan"), 1.5],
            temperature=pa.array([0, None, 9, 1, 2], pa.int8()),
            time=pa.array([1, 2, 3, 4, 5], pa.int32()),
        ),
        model,
    )
    assert batch.ids == ["1", "table:2"]
    assert batch.observations.tolist() == [[1, 0, 1, -1], [-1, -1, 2, -1]]
    assert batch.time.tolist() == [1, 2]
    assert [reject.line for reject in batch.rejects] == [3, 4, 5]
    assert "'temperature' is 9, out of range" in batch.rejects[0].reason
    assert "'wind' is NaN" in batch.rejects[1].reason
    assert "'wind' is 1.5" in batch.rejects[2].reason
    assert batch.rejects[0].text == '{"id": 3, "weather": "sun", "wind": null, "temperature": 9, "time": 3}'


def test_parquet_text_that_is_not_utf8(parquet: Path, model: GenerativeModel) -> None:
    bad = pa.array([b"rain", b"\xff\xfe", b"sun"], pa.binary()).view(pa.string())
    batch = only(write(parquet, weather=bad), model)
    assert batch.observations[:, 0].tolist() == [1, 2]
    assert [(reject.line, "not UTF-8" in reject.reason) for reject in batch.rejects] == [(2, True)]


@pytest.mark.parametrize("skip", range(8))
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_parquet_rows_after_a_skip(parquet: Path, model: GenerativeModel, skip: int, chunk: int) -> None:
    write(parquet, weather=["rain"] * 7)
    batches = list(read_stimuli([parquet], model, chunk=chunk, skip=skip))
    assert [line for batch in batches for line in batch.lines.tolist()] == list(range(skip + 1, 8))
    assert max((len(batch) for batch in batches), default=0) <= chunk


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"weather": [True]}, "'weather' holds bool; write names or whole numbers of outcomes"),
        ({"weather": [["rain"]]}, "'weather' holds list"),
        ({"weather": ["rain"], "time": ["noon"]}, "'time' holds string; write numbers"),
        ({"weather": ["rain"], "time": pa.array([1], pa.timestamp("s"))}, "'time' holds timestamp"),
        ({"weather": ["rain"], "id": [0.5]}, "'id' holds double; write text or whole numbers"),
        ({"weather": ["rain"], "index": [0]}, 'unknown column "index"'),
        ({"time": [1.0]}, "no column holds observations"),
    ],
)
def test_schemas_are_checked_at_once(parquet: Path, model: GenerativeModel, columns: Any, said: str) -> None:
    write(parquet, **columns)
    with pytest.raises(InputError, match=f"table.parquet: .*{said}"):
        read_stimuli([parquet], model)


def test_a_damaged_parquet_file_is_named(parquet: Path, model: GenerativeModel) -> None:
    parquet.write_bytes(b"not Parquet")
    with pytest.raises(InputError, match=r"table\.parquet: not a Parquet file"):
        read_stimuli([parquet], model)
    write(parquet, weather=["rain"] * 4)
    content = bytearray(parquet.read_bytes())
    # The pages of the first row group lie behind the four bytes that every Parquet file begins with.
    content[4:40] = bytes(36)
    parquet.write_bytes(content)
    with pytest.raises(InputError, match=r"table\.parquet: damaged after row 0"):
        list(read_stimuli([parquet], model))
