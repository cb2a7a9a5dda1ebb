"""Every record is a result or a reject; what cannot be run is said first, and earlier output stays as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from days import Record, days, write_jsonl
from runs import contents, rejects, request, results

from cognitive_actors.cluster import ClusterError
from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.files.errors import InputError
from cognitive_actors.pipeline.run import Advance, RejectedInput, run

pytestmark = pytest.mark.usefixtures("embedded_ray")

SUNNY = {"observation": {"weather": "sun"}}

#: Records that are wrong, each in its own way, and what is said of them.
WRONG: list[tuple[Record | str, str]] = [
    ('{"id": "x1", "observation": {"weather": "rain"', "broken JSON"),
    ({"id": "x2", "agent": "agent-0"}, 'no "observation"'),
    ('{"id": "x3", "time": NaN, "observation": {"weather": "rain"}}', "NaN is not JSON"),
    ({"id": "x4", **SUNNY, "delta": {"dopamin": 0.1}}, "unknown modulator"),
    ({"id": "x5", **SUNNY, "delta": {"dopamine": 1e300}}, "within ±1e+06"),
    ({"id": "x6", **SUNNY, "time": 1e300}, "within ±1e+15"),
    ({"id": "x7", "observation": {"weather": 5}}, "out of range"),
    ({"id": "x8", "observation": {"weather": "reign"}}, "did you mean 'rain'?"),
    ({"id": "0/3", **SUNNY}, "id '0/3' was read before"),
    ({"id": "x9", "agent": "agent-1", "time": 0.5, **SUNNY}, "time runs backwards for agent 'agent-1'"),
]


def broken(good: list[Record]) -> list[Record | str]:
    """The good records with the wrong ones among them, all but the first seven behind the good ones."""
    return [*[record for record, _ in WRONG[:7]], *good, *[record for record, _ in WRONG[7:]]]


def test_bad_records_become_rejects(tmp_path: Path) -> None:
    good = days(agents=4, each=10)
    path = write_jsonl(tmp_path / "days.jsonl", broken(good))
    advances: list[Advance] = []
    # Chunks of five, so that rejects are spread over many, and some chunks hold nothing else.
    summary = run(request(tmp_path / "out", path, on_error="skip", chunk=5, shards=2), advances.append)
    assert (summary["records"], summary["results"], summary["rejects"]) == (50, 40, 10)
    last = advances[-1]
    assert (last.done, last.total, last.results, last.rejects) == (50, 50, 40, 10)
    found = rejects(tmp_path / "out")
    expected = [number for number, record in enumerate(broken(good), 1) if record not in good]
    assert [reject["line"] for reject in found] == expected
    for reject, (_, reason) in zip(found, WRONG, strict=True):
        assert reason in reject["reason"] and reject["file"] == str(path)
    assert results(tmp_path / "out")["id"].to_pylist() == [r["id"] for r in good]
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == summary


def test_the_shipped_broken_file(examples: Path, tmp_path: Path) -> None:
    summary = run(request(tmp_path / "out", examples / "broken.jsonl", on_error="skip"))
    assert (summary["records"], summary["results"], summary["rejects"]) == (10, 0, 10)
    assert len(rejects(tmp_path / "out")) == 10
    assert results(tmp_path / "out").num_rows == 0


@pytest.mark.parametrize("wrong", [1, 8, 9])
def test_a_bad_record_stops_the_run_and_touches_nothing(tmp_path: Path, wrong: int) -> None:
    out, good = tmp_path / "out", days(agents=2, each=5)
    out.mkdir()
    for name in ("results.parquet", "rejects.jsonl", "summary.json"):
        (out / name).write_text(f"an earlier {name}")
    before = contents(out)
    record, reason = WRONG[wrong]
    path = write_jsonl(tmp_path / "days.jsonl", [*good, record, SUNNY, "no JSON", {**SUNNY, "id": "0/0"}])
    with pytest.raises(RejectedInput) as error:
        run(request(tmp_path / "out", path, chunk=4))
    assert str(error.value).startswith(f"{path}:11: ") and reason in str(error.value)
    assert contents(out) == before and not (out / ".run").exists()


def test_ids_are_unique_over_files_and_chunks(tmp_path: Path) -> None:
    records = days(agents=3, each=4)
    first = write_jsonl(tmp_path / "a.jsonl", records)
    second = write_jsonl(tmp_path / "b.jsonl", [*records[6:], {**SUNNY, "agent": "late"}, {**SUNNY, "agent": "late"}])
    summary = run(request(tmp_path / "out", first, second, on_error="skip", chunk=5))
    assert (summary["records"], summary["results"], summary["rejects"]) == (20, 14, 6)
    ids = results(tmp_path / "out")["id"].to_pylist()
    assert ids == [r["id"] for r in records] + ["b:7", "b:8"]


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "days.jsonl", days(1, 1))
    with pytest.raises(InputError, match=r"days.jsonl/out: .*; write a directory that can be written"):
        run(request(path / "out", path))


def test_empty_input(tmp_path: Path) -> None:
    summary = run(request(tmp_path / "out", write_jsonl(tmp_path / "none.jsonl", [])))
    assert (summary["records"], summary["results"], summary["agents"], summary["figures"]) == (0, 0, 0, {})
    assert contents(tmp_path / "out").keys() == {"results.parquet", "rejects.jsonl", "summary.json"}


def test_what_cannot_be_run_is_said_before_anything_starts(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "days.jsonl", days(1, 1))
    for changes, message in (
        ({"model": tmp_path / "model.pkl"}, "may hold code"),
        ({"settings": CycleSettings(learn_A=True)}, "learn_A needs Dirichlet counts"),
        ({"device": "abacus"}, "device is 'abacus'; write cpu or cuda"),
        ({"paths": [tmp_path / "gone.jsonl"]}, "gone.jsonl: No such file"),
    ):
        with pytest.raises(ValueError, match=message):
            run(request(tmp_path / "out", path, **changes))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ClusterError, match="no node of the cluster has a GPU"):
        run(request(tmp_path / "out", path, device="cuda"))


def test_input_that_grows_meanwhile(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "days.jsonl", days(2, 5))

    def append(_: object) -> None:
        with open(path, "a") as file:
            file.write(json.dumps(SUNNY) + "\n")

    with pytest.raises(InputError, match=r"the input had 10 records when the run began and 1[1-9] when it was read"):
        run(request(tmp_path / "out", path), append)
    assert not (tmp_path / "out" / "results.parquet").exists()
