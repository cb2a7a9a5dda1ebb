"""Killed, interrupted and resumed runs end with what an undisturbed run ends with."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from days import days, write_jsonl
from processes import descendants, kill_population, populations, python, wait_until

from cognitive_actors.files.errors import InputError
from cognitive_actors.pipeline.run import Advance, RunRequest, run

pytestmark = pytest.mark.usefixtures("embedded_ray")

AGENTS, EACH = 50, 800


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("input") / "stimuli.jsonl", days(AGENTS, EACH))


def request_for(stimuli: Path, examples: Path, out: Path, **changes: object) -> RunRequest:
    chosen = {"shards": 2, "chunk": 500, "commit_seconds": 0.0, **changes}
    return RunRequest(paths=[stimuli], model=examples / "umbrella.yaml", out=out, **chosen)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def undisturbed(
    stimuli: Path, examples: Path, tmp_path_factory: pytest.TempPathFactory, embedded_ray: None
) -> pa.Table:
    out = tmp_path_factory.mktemp("undisturbed")
    run(request_for(stimuli, examples, out))
    return pq.read_table(out / "results.parquet")


def test_a_killed_actor_costs_nothing(stimuli: Path, examples: Path, tmp_path: Path, undisturbed: pa.Table) -> None:
    killed: list[int] = []
    # Other tests' may still be ending.
    others = populations()

    def kill_once(advance: Advance) -> None:
        if not killed and advance.done > AGENTS * EACH // 3:
            killed.append(kill_population(besides=others))

    summary = run(request_for(stimuli, examples, tmp_path), kill_once)
    assert killed == [2]
    assert summary["actor_losses"] >= 1
    assert summary["records"] == summary["results"] == AGENTS * EACH
    assert pq.read_table(tmp_path / "results.parquet").equals(undisturbed)
    assert not (tmp_path / ".run").exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_is_ended_is_resumed(
    stimuli: Path, examples: Path, tmp_path: Path, undisturbed: pa.Table, end: signal.Signals
) -> None:
    command = ["-m", "cognitive_actors", "run", str(stimuli), "--model", str(examples / "umbrella.yaml")]
    command += ["--out", str(tmp_path), "--address", "local", "--shards", "1", "--commit-seconds", "0"]
    process = python(*command)
    wait_until(lambda: len(list(tmp_path.glob(".run/part-*.parquet"))) > 0, process)
    workers = [pid for pid, line in descendants(process.pid).items() if "cognitive_actors run" in line]
    os.kill(process.pid, end)
    if end == signal.SIGKILL:
        # It would end by itself a moment later, when the run may be over.
        for pid in workers:
            os.kill(pid, end)
    _, errors = process.communicate(timeout=60)
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert "--resume" in errors
    assert not (tmp_path / "results.parquet").exists()
    resumed = python(*command, "--resume")
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    table = pq.read_table(tmp_path / "results.parquet")
    assert table["id"].equals(undisturbed["id"])
    for name in undisturbed.schema.names:
        if pa.types.is_floating(undisturbed.schema.field(name).type):
            # Other chunks and shards than in the fixture: equal but for the last bits.
            assert abs(table[name].to_numpy() - undisturbed[name].to_numpy()).max() < 1e-4, name
        else:
            assert table[name].equals(undisturbed[name]), name


def test_two_runs_do_not_share_a_directory(stimuli: Path, examples: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def start_another(_: Advance) -> None:
        if not refused:
            with pytest.raises(InputError, match="another run is writing there") as error:
                run(request_for(stimuli, examples, tmp_path))
            refused.append(str(error.value))

    run(request_for(stimuli, examples, tmp_path), start_another)
    assert refused


def test_another_input_is_not_resumed(stimuli: Path, examples: Path, tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(advance: Advance) -> None:
        if advance.done > AGENTS * EACH // 2:
            raise Enough

    with pytest.raises(Enough):
        run(request_for(stimuli, examples, tmp_path), stop)
    other = write_jsonl(tmp_path / "other.jsonl", days(3, 10))
    with pytest.raises(InputError, match="had another input"):
        run(request_for(other, examples, tmp_path, resume=True))


def test_an_interrupted_process_leaves_no_process_behind(stimuli: Path, examples: Path, tmp_path: Path) -> None:
    process = python("-m", "cognitive_actors", "run", str(stimuli), "--out", str(tmp_path), "--address", "local")
    timer = threading.Timer(8.0, process.send_signal, (signal.SIGINT,))
    timer.start()
    try:
        process.communicate(timeout=120)
    finally:
        timer.cancel()
    # Ray's own processes notice that their driver is gone and end by themselves; its agents take up to 70 s.
    end = time.monotonic() + 100
    while left := _group(process.pid):
        assert time.monotonic() < end, left
        time.sleep(0.5)


def _group(pgid: int) -> list[str]:
    """The living processes of a group, by number and command."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == pgid and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.info['cmdline']}")
    return found
