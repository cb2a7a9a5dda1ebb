"""One stimulus, a stream, a file of any format and any number of shards: the same results."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from conftest import EXAMPLES
from days import Record, days, write_csv, write_jsonl, write_parquet
from runs import request, results

from cognitive_actors import run_distributed_inference
from cognitive_actors.cluster import ClusterError
from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.modulator_parameters import GUIDE, MODULATORS
from cognitive_actors.files.errors import InputError
from cognitive_actors.pipeline.online import Session
from cognitive_actors.pipeline.run import run
from cognitive_actors.pipeline.shards import Shards

pytestmark = pytest.mark.usefixtures("embedded_ray")

UMBRELLA = EXAMPLES / "umbrella.yaml"
RECORDS = days(5, 12)
SUNNY = {"observation": {"weather": "sun"}}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(UMBRELLA) as one:
        yield one


def assert_agrees(online: dict[str, Any], row: dict[str, Any]) -> None:
    """What a session returned is what a run wrote."""
    assert (online["id"], online["agent"]) == (row["id"], row["agent"])
    assert online["action"] == {"carrying": row["action.carrying"]}
    held = {x["modality"]: x["salience"] for x in online["broadcast"]["broadcast"]}
    assert held.keys() == {name for name in ("weather", "temperature", "wind", "comfort") if row[f"broadcast.{name}"]}
    assert [row[f"salience.{name}"] for name in held] == pytest.approx(list(held.values()), abs=1e-5)
    assert [row[name] for name in MODULATORS] == pytest.approx(list(online["new_state"].values()), abs=1e-5)
    for name in ("free_energy", "expected_free_energy"):
        assert row[name] == pytest.approx(online[name], abs=1e-5)


def test_every_format_gives_the_same(tmp_path: Path) -> None:
    files = (
        write_jsonl(tmp_path / "days.jsonl", RECORDS),
        write_csv(tmp_path / "days.csv", RECORDS),
        write_parquet(tmp_path / "days.parquet", RECORDS),
    )
    for path in files:
        summary = run(request(tmp_path / path.suffix, path))
        assert (summary["records"], summary["results"], summary["agents"]) == (60, 60, 5)
    first, *others = (results(tmp_path / path.suffix) for path in files)
    assert first["id"].to_pylist() == [r["id"] for r in RECORDS]
    assert all(other.equals(first) for other in others)


@pytest.mark.parametrize(
    "settings",
    [CycleSettings(), CycleSettings(alpha=2.0, seed=7), CycleSettings(modulators=GUIDE)],
    ids=["most-probable", "sampled", "guide"],
)
def test_online_stream_and_file_agree(settings: CycleSettings, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "days.jsonl", RECORDS)
    run(request(tmp_path / "out", path, shards=2, chunk=17, settings=settings))
    rows = results(tmp_path / "out").to_pylist()
    with Session(UMBRELLA, settings) as one:
        online = [one.step(record) for record in RECORDS]
    with Session(UMBRELLA, settings) as one:
        stream = list(one.stream(iter(RECORDS), ahead=7))
    for row, single, streamed in zip(rows, online, stream, strict=True):
        assert single == streamed
        assert_agrees(single, row)


def test_the_guides_one_call(model: GenerativeModel) -> None:
    first = run_distributed_inference(SUNNY)
    assert {"broadcast", "free_energy", "new_state"} <= first.keys()
    assert first["broadcast"].keys() == {"broadcast", "salience_max"}
    assert tuple(first["new_state"]) == MODULATORS
    # The agent lives on between calls, and another model has agents of its own.
    assert run_distributed_inference(SUNNY) != first
    assert run_distributed_inference(SUNNY, model=str(UMBRELLA)) != first
    assert run_distributed_inference(SUNNY, model=model) == first
    assert run_distributed_inference(SUNNY, model=model) != first


def test_a_session_refuses_what_a_run_would_reject(session: Session) -> None:
    session.step({"agent": "a", "time": 5, **SUNNY})
    wrong: list[tuple[Record, str]] = [
        ({"observation": {"weather": "hail"}}, "hail"),
        ({"observation": {}}, "observed"),
        ({"agent": "a", "time": 4, **SUNNY}, "time runs backwards for agent 'a'"),
        ({**SUNNY, "delta": {"melatonin": 1}}, "melatonin"),
    ]
    for stimulus, word in wrong:
        with pytest.raises(InputError, match=word):
            session.step(stimulus)
    assert session.step({"agent": "a", "time": 6, **SUNNY})["agent"] == "a"


def test_a_stream_gives_all_results_before_a_bad_stimulus(session: Session) -> None:
    stimuli = [{"agent": "b", "time": t, **SUNNY} for t in range(10)]
    given = []
    with pytest.raises(InputError, match="hail"):
        for result in session.stream([*stimuli, {"observation": {"weather": "hail"}}, *stimuli]):
            given.append(result)
    assert len(given) == 10


def test_a_session_whose_actor_died_says_so() -> None:
    with Session(UMBRELLA) as one:
        one.step(SUNNY)
        os.kill(ray.get(one.actor.ready.remote())["pid"], signal.SIGKILL)
        with pytest.raises(ClusterError, match=r"(?s)actor died, and their state with it.*open a new session"):
            while True:
                one.step(SUNNY)


def test_no_room_in_the_cluster(model: GenerativeModel) -> None:
    with pytest.raises(ClusterError, match=r"3 actors found no room within 3 s .*ask for fewer with --shards"):
        Shards(model, CycleSettings(), 3, deadline=3.0)
    with Shards(model, CycleSettings(), 2) as shards:
        assert all(len(x) == 0 for x in shards.snapshot().values())


def test_results_are_finite(tmp_path: Path) -> None:
    """Improbable observations and long silences included."""
    records: list[Record] = [
        {"agent": "a", "time": t, "observation": {"weather": w, "temperature": "warm", "comfort": "soaked"}}
        for t, w in ((-1e15, "snow"), (0, "snow"), (0, "sun"), (1e15, "snow"), (1e15, "snow"))
    ]
    run(request(tmp_path / "out", write_jsonl(tmp_path / "odd.jsonl", records)))
    table = results(tmp_path / "out")
    numbers = [name for name in table.schema.names if name not in ("id", "agent", "action.carrying")]
    for name in numbers:
        assert np.isfinite(table[name].to_numpy(zero_copy_only=False).astype(float)).all(), name
