"""A run whose Ray is killed under it goes on by itself, and ends with what an undisturbed one ends with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from days import days, write_jsonl
from processes import descendants, python, wait_until

AGENTS, EACH = 50, 600


def command(stimuli: Path, examples: Path, out: Path, *more: str) -> list[str]:
    run = ["-m", "cognitive_actors", "run", str(stimuli), "--model", str(examples / "umbrella.yaml"), "--out", str(out)]
    return [*run, "--address", "local", "--shards", "1", "--commit-seconds", "0", "--json", *more]


def begun(out: Path, process: subprocess.Popen[str]) -> None:
    wait_until(lambda: len(list(out.glob(".run/part-*.parquet"))) > 0, process)


def kill(process: subprocess.Popen[str], name: str) -> None:
    pids = [pid for pid, line in descendants(process.pid).items() if name in line.split(" ")[0]]
    assert pids, descendants(process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("input") / "stimuli.jsonl", days(AGENTS, EACH))


def test_a_run_outlives_its_ray(stimuli: Path, examples: Path, tmp_path: Path) -> None:
    calm = python(*command(stimuli, examples, tmp_path / "calm"))
    _, errors = calm.communicate(timeout=180)
    assert calm.returncode == 0, errors
    disturbed = python(*command(stimuli, examples, tmp_path / "out"))
    begun(tmp_path / "out", disturbed)
    kill(disturbed, "raylet")
    output, errors = disturbed.communicate(timeout=180)
    assert disturbed.returncode == 0, errors
    assert "going on from the last commit" in errors
    summary = json.loads(output)
    assert summary["resumed_at"] > 0
    assert summary["records"] == summary["results"] == AGENTS * EACH
    tables = [pq.read_table(tmp_path / name / "results.parquet") for name in ("calm", "out")]
    assert tables[0].equals(tables[1])


def test_a_driver_that_is_ended_before_it_begins_is_begun_again(stimuli: Path, examples: Path, tmp_path: Path) -> None:
    process = python(*command(stimuli, examples, tmp_path))
    wait_until(lambda: any("raylet" in line.split(" ")[0] for line in descendants(process.pid).values()), process)
    (driver,) = [pid for pid, line in descendants(process.pid).items() if "cognitive_actors run" in line]
    os.kill(driver, signal.SIGKILL)
    output, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert errors.count("beginning again") == 1 and "going on" not in errors
    assert json.loads(output)["records"] == AGENTS * EACH


def test_without_patience_it_says_how_to_go_on(stimuli: Path, examples: Path, tmp_path: Path) -> None:
    process = python(*command(stimuli, examples, tmp_path, "--patience", "0"))
    begun(tmp_path, process)
    kill(process, "raylet")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "--resume" in errors
    assert json.loads(output)["exit_code"] == 3


def test_who_never_began_is_not_tried_again(stimuli: Path, examples: Path, tmp_path: Path) -> None:
    process = python(*command(stimuli, examples, tmp_path, "--device", "cuda"))
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "GPU" in json.loads(output)["error"]


def test_the_worker_ends_with_who_was_called(stimuli: Path, examples: Path, tmp_path: Path) -> None:
    process = python(*command(stimuli, examples, tmp_path))
    begun(tmp_path, process)
    (worker,) = [pid for pid, line in descendants(process.pid).items() if "cognitive_actors run" in line]
    process.kill()
    process.communicate(timeout=60)
    wait_for_end(worker)


def wait_for_end(pid: int) -> None:
    subprocess.run(["tail", f"--pid={pid}", "-f", "/dev/null"], timeout=30, check=True)
