"""``cognitive bootstrap`` as it is called: on a cluster, twice at once, and where it cannot do its work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from bootstraps import SECONDS, answer, end_all, living
from processes import python
from ray.util import list_named_actors

from cognitive_actors.actors.pieces import in_pieces
from cognitive_actors.core.environments import environment
from cognitive_actors.files import save_model

WANTED = {
    "cognitive", "cognitive-lifecycle", "state", "streams", "routes",
    "cognitive-dispatcher-0", "cognitive-dispatcher-1", "cognitive-reaper",
}  # fmt: skip


@pytest.fixture
def namespace(embedded_ray: None) -> Iterator[str]:
    """One that no other test has: the command names its actors itself."""
    chosen = f"bootstrap-{uuid.uuid4().hex[:12]}"
    yield chosen
    end_all(lambda: [x["name"] for x in list_named_actors(all_namespaces=True) if x["namespace"] == chosen], chosen)


def begun(namespace: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    address = ray.get_runtime_context().gcs_address
    command = ("-m", "cognitive_actors", "bootstrap", "--address", address, "--timeout", f"{SECONDS:g}", *arguments)
    return python(*command, RAYNIXOS_NAMESPACE=namespace, **environment)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=3 * SECONDS)
    return process.returncode, output, errors


def good(process: subprocess.Popen[str]) -> dict[str, Any]:
    code, output, errors = ended(process)
    assert code == 0, errors
    report: dict[str, Any] = json.loads(output)
    assert report.pop("exit_code") == 0
    return report


def test_two_at_once_make_one_of_each(namespace: str, tmp_path: Path) -> None:
    tasks = str(tmp_path / "tasks.db")
    both = [begun(namespace, "--tasks", tasks, "--json") for _ in range(2)]
    reports = [good(process) for process in both]
    there = living("", namespace)
    assert set(there) == WANTED | {"cognitive-tasks"}
    for report in reports:
        assert {each["name"] for each in report["reconciled"]} == WANTED
        assert {each["action"] for each in report["reconciled"]} <= {"kept", "started"}
        assert (report["mode"], report["namespace"]) == ("all", namespace)
        assert report["task"]["kind"] == "pipeline.foresee" and report["task"]["by"] in WANTED
    # Later nobody need say where the tasks are: there is a ledger of them.
    code, output, errors = ended(begun(namespace, BOOTSTRAP_MODE="dispatchers", COGNITIVE_TASKS=""))
    assert code == 0, errors
    assert "kept" in output and "started" not in output and "a task of kind probe was done by" in output
    report = good(begun(namespace, "--tasks", tasks, "--mode", "dispatchers", "--dispatchers", "1", "--json"))
    assert {each["name"]: each["action"] for each in report["reconciled"]} == {
        "cognitive-dispatcher-0": "kept", "cognitive-dispatcher-1": "ended", "cognitive-reaper": "kept",
    }  # fmt: skip
    assert living("", namespace) == {name: i for name, i in there.items() if name != "cognitive-dispatcher-1"}


def test_agents_of_a_large_model_outlive_the_command(namespace: str, tmp_path: Path) -> None:
    model, path = environment("grid-world", shape=(12, 14)).model(), tmp_path / "large.npz"
    save_model(model, path)
    # Ray would leave it in the command's object store.
    assert len(in_pieces(model)) > 2
    good(begun(namespace, "--mode", "organism", "--model", str(path), "--json"))
    agents = ray.get_actor("cognitive", namespace)
    process = answer(agents.ready.remote())["pid"]
    os.kill(process, signal.SIGKILL)
    assert answer(agents.ready.remote())["pid"] != process


def test_tasks_that_cannot_be_reached_end_it_with_3(namespace: str) -> None:
    away = "postgresql://nobody@127.0.0.1:1/none"
    code, output, errors = ended(begun(namespace, "--mode", "dispatchers", "--tasks", away, "--json"))
    assert code == 3 and "Traceback" not in errors
    report = json.loads(output)
    assert report["error"].startswith("the tasks cannot be reached: postgresql+psycopg://nobody@127.0.0.1:1/none: ")
    assert (report["exit_code"], report["reconciled"], report["namespace"]) == (3, [], namespace)


def test_a_place_of_tasks_that_is_none_ends_it_with_2(namespace: str) -> None:
    code, output, errors = ended(begun(namespace, "--json", COGNITIVE_TASKS="tasks.db"))
    assert code == 2 and json.loads(output)["exit_code"] == 2
    assert "COGNITIVE_TASKS is 'tasks.db', which names no place that all replicas share; write an absolute" in errors
    assert living("", namespace) == {}


def test_without_sqlalchemy_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['sqlalchemy'] = None; from cognitive_actors.cli import main; main()"
    code, _, errors = ended(python("-c", program, "bootstrap", "--address", "127.0.0.1:1"))
    assert code == 2 and "pip install 'cognitive-actors[dispatch]'" in errors


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--mode", "everything"], 2, "everything"),
        (["--dispatchers", "0"], 2, "--dispatchers"),
        (["--dispatchers", "many"], 2, "--dispatchers"),
        (["--timeout", "nan"], 2, "--timeout"),
        (["--timeout", "1", "--address", "127.0.0.1:1"], 3, "127.0.0.1:1"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], code: int, words: str) -> None:
    returned, _, errors = ended(python("-m", "cognitive_actors", "bootstrap", *arguments))
    assert returned == code and words in errors and "Traceback" not in errors


def test_a_mode_of_the_environment_that_is_none_is_wrong() -> None:
    code, _, errors = ended(python("-m", "cognitive_actors", "bootstrap", BOOTSTRAP_MODE="everything"))
    assert code == 2 and "everything" in errors
