"""The command as a person calls it: exit codes, output, files."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import pytest
from processes import python


def cognitive(*arguments: str, directory: Path) -> tuple[int, str, str]:
    process = python("-m", "cognitive_actors", *arguments, RAY_TMPDIR="/tmp/ray", PWD=str(directory))
    output, errors = process.communicate(timeout=600)
    return process.returncode, output, errors


def test_run_report_and_bad_input(examples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = [str(examples / "first-days.csv"), str(examples / "broken.jsonl")]
    run = ["run", *files, "--out", str(out), "--address", "local", "--shards", "1"]
    code, output, errors = cognitive(*run, "--on-error", "skip", "--json", directory=tmp_path)
    assert code == 0, errors
    summary = json.loads(output)
    assert (summary["records"], summary["results"], summary["rejects"]) == (70, 60, 10)
    height, width, _ = matplotlib.image.imread(out / "report.png").shape
    assert height > 400 and width > 400
    (out / "report.png").unlink()
    code, output, _ = cognitive("report", str(out), directory=tmp_path)
    assert code == 0 and output.strip().endswith("report.png") and (out / "report.png").exists()

    code, output, errors = cognitive(*run, "--json", directory=tmp_path)
    assert code == 2
    assert "broken.jsonl:1: " in errors
    assert json.loads(output)["exit_code"] == 2


def test_simulate_reaches_the_reward(tmp_path: Path) -> None:
    simulate = ["simulate", "t-maze", "--agents", "200", "--trials", "2", "--plain", "--precision", "16", "--json"]
    code, output, errors = cognitive(*simulate, "--out", str(tmp_path), "--address", "local", directory=tmp_path)
    assert code == 0, errors
    measures = json.loads(output)["measures"]
    assert measures["cue first"]["mean"] if "cue first" in measures else measures["cue_first"]["mean"] == 1
    assert measures["success"]["mean"] > 0.9
    code, output, _ = cognitive("report", str(tmp_path), directory=tmp_path)
    assert code == 0 and (tmp_path / "simulation.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["simulate", "labyrinth"], 2, "t-maze-simplified"),
        (["simulate", "t-maze", "--option", "cheese=1"], 2, "cue_validity"),
        (["run", "nowhere.jsonl"], 2, "nowhere.jsonl"),
        (["run"], 2, "FILE"),
        (["report", "nowhere"], 2, "nowhere"),
        (["status", "--address", "127.0.0.1:1"], 3, "127.0.0.1:1"),
        (["run", __file__, "--model", "model.pkl"], 2, "model.pkl"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], code: int, words: str, tmp_path: Path) -> None:
    returned, _, errors = cognitive(*arguments, directory=tmp_path)
    assert returned == code
    assert words in errors
    assert "Traceback" not in errors
