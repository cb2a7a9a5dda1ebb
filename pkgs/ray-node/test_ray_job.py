"""Jobs as units, on a real Ray with its dashboard."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.job_submission import JobStatus, JobSubmissionClient

from test_ray_node import HERE, RAY, Notifications, end, free_ports, supervise

TOKEN = "b" * 64


class Head:
    """A head with a dashboard, which remembers its jobs."""

    def __init__(self, directory: Path, **environ: str) -> None:
        self._directory, self._environ = directory, environ
        self._gcs, self._raylet, self._dashboard, self._agent = free_ports(4)
        self.address = f"http://127.0.0.2:{self._dashboard}"
        self.start()

    def start(self) -> None:
        place = Path(tempfile.mkdtemp(dir=self._directory))
        self._notifications = Notifications(place / "n")
        self._process = supervise(
            self._notifications,
            f"--health=127.0.0.2:{self._gcs}",
            f"--door=127.0.0.2:{self._dashboard}",
            f"--door=127.0.0.2:{self._agent}",
            *("--", RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.2", f"--port={self._gcs}"),
            *(f"--node-manager-port={self._raylet}", f"--dashboard-port={self._dashboard}"),
            *("--dashboard-host=127.0.0.2", "--num-cpus=2", f"--object-store-memory={80 * 1024 * 1024}"),
            *(f"--dashboard-agent-listen-port={self._agent}", f"--temp-dir={self._directory / 's'}"),
            RAY_AUTH_MODE="token",
            RAY_AUTH_TOKEN=TOKEN,
            RAY_gcs_storage="rocksdb",
            RAY_gcs_storage_path=str(self._directory / "gcs"),
            RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="0",
            **self._environ,
        )
        self._notifications.wait_for("READY=1", 90)

    def stop(self) -> None:
        end(self._process)
        self._notifications.close()

    @property
    def jobs(self) -> JobSubmissionClient:
        # Ray reads its settings once for a process, which other tests share.
        return JobSubmissionClient(self.address, headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with tempfile.TemporaryDirectory(prefix="rj", ignore_cleanup_errors=True) as directory:
        running = Head(Path(directory))
        yield running
        running.stop()


def start(head: Head, name: str, entrypoint: str, *options: str, **environ: str) -> subprocess.Popen[str]:
    program = [sys.executable, str(HERE / "ray_job.py")]
    return subprocess.Popen(
        [*program, f"--address={head.address}", f"--name={name}", *options, "--", entrypoint],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, **environ},
    )


def run(head: Head, *arguments: str, **environ: str) -> tuple[int, str, str]:
    process = start(head, *arguments, **environ)
    out, errors = process.communicate(timeout=120)
    return process.returncode, out, errors


def of(head: Head, name: str) -> list[Any]:
    return sorted(
        (x for x in head.jobs.list_jobs() if (x.metadata or {}).get("ray-nixos/job") == name),
        key=lambda x: str(x.submission_id),
    )


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.2)


def test_the_log_and_the_end_of_a_job_are_those_of_the_unit(head: Head) -> None:
    code, out, errors = run(head, "good", "echo $GREETING; python3 -c 'print(6 * 7)'", *env("GREETING", "hello"))
    assert code == 0, errors
    lines = out.splitlines()
    assert lines.index("hello") < lines.index("42")
    assert "has succeeded" in errors


def env(name: str, value: str) -> list[str]:
    return [f'--runtime-env={{"env_vars": {{"{name}": "{value}"}}}}']


def test_what_has_succeeded_is_not_begun_again(head: Head, tmp_path: Path) -> None:
    count = f"echo once >> {tmp_path}/runs"
    assert run(head, "once", count)[0] == 0
    code, _, errors = run(head, "once", count)
    assert code == 0 and "has succeeded before" in errors
    assert (tmp_path / "runs").read_text() == "once\n"
    # Another job under the same name, and another start of a job that each start begins.
    assert run(head, "once", count + " && true")[0] == 0
    assert run(head, "once", count, "--each-time", INVOCATION_ID="2")[0] == 0
    assert (tmp_path / "runs").read_text() == "once\n" * 3


def test_a_job_that_fails_is_tried_again(head: Head, tmp_path: Path) -> None:
    third = f"echo x >> {tmp_path}/tries; test $(wc -l < {tmp_path}/tries) -ge 3"
    code, _, errors = run(head, "third", third, "--retries=2", "--pause=0.1")
    assert code == 0, errors
    assert errors.count("it is tried again in") == 2
    assert [x.status for x in of(head, "third")] == [JobStatus.FAILED, JobStatus.FAILED, JobStatus.SUCCEEDED]


def test_a_job_that_goes_on_failing_has_failed_for_good(head: Head, tmp_path: Path) -> None:
    fail = f"echo x >> {tmp_path}/tries; exit 3"
    for _ in range(2):
        code, _, errors = run(head, "bad", fail, "--retries=1", "--pause=0.1")
        assert code == 1
        assert "has failed" in errors and "exit code 3" in errors
        # The second start finds that both attempts were made.
        assert (tmp_path / "tries").read_text() == "x\n" * 2


def test_a_job_that_takes_too_long_is_stopped(head: Head) -> None:
    code, _, errors = run(head, "long", "sleep 600", "--timeout=5")
    assert code == 75 and "took longer than 5 s" in errors
    assert [x.status for x in of(head, "long")] == [JobStatus.STOPPED]


def test_sigterm_stops_the_job_and_the_next_start_begins_it_anew(head: Head, tmp_path: Path) -> None:
    entrypoint = f"echo begun; test -e {tmp_path}/go || sleep 600"
    process = start(head, "stopped", entrypoint)
    wait_until(lambda: [x.status for x in of(head, "stopped")] == [JobStatus.RUNNING], process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and "is stopped" in errors
    assert [x.status for x in of(head, "stopped")] == [JobStatus.STOPPED]
    (tmp_path / "go").touch()
    assert run(head, "stopped", entrypoint)[0] == 0
    assert [x.status for x in of(head, "stopped")] == [JobStatus.STOPPED, JobStatus.SUCCEEDED]


def test_stopped_by_somebody_else_is_no_success(head: Head) -> None:
    process = start(head, "other", "sleep 600")
    wait_until(lambda: [x.status for x in of(head, "other")] == [JobStatus.RUNNING], process)
    head.jobs.stop_job(of(head, "other")[0].submission_id)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 76 and "was stopped" in errors


def test_a_unit_that_was_killed_finds_its_job_again(head: Head, tmp_path: Path) -> None:
    entrypoint = f"echo begun; while ! test -e {tmp_path}/go; do sleep 0.1; done; echo ended"
    process = start(head, "found", entrypoint)
    wait_until(lambda: [x.status for x in of(head, "found")] == [JobStatus.RUNNING], process)
    process.kill()
    process.communicate()
    again = start(head, "found", entrypoint)
    assert again.stdout is not None
    assert any(line == "begun\n" for line in again.stdout)
    (tmp_path / "go").touch()
    out, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert out.splitlines()[-1] == "ended"
    assert len(of(head, "found")) == 1


def test_what_a_killed_unit_left_running_is_stopped(head: Head) -> None:
    process = start(head, "left", "sleep 600", "--each-time", INVOCATION_ID="1")
    wait_until(lambda: [x.status for x in of(head, "left")] == [JobStatus.RUNNING], process)
    process.kill()
    process.communicate()
    code, _, errors = run(head, "left", "true", "--each-time", INVOCATION_ID="2")
    assert code == 0 and "still runs without its unit" in errors
    assert sorted(x.status for x in of(head, "left")) == [JobStatus.STOPPED, JobStatus.SUCCEEDED]


def test_the_head_remembers_as_many_as_it_is_told_to(head: Head) -> None:
    for number in range(3):
        assert run(head, "many", "true", "--each-time", "--history=2", INVOCATION_ID=str(number))[0] == 0
    assert len(of(head, "many")) == 2


def test_a_job_that_cannot_be_is_refused_with_the_reason(head: Head) -> None:
    code, _, errors = run(head, "odd", "true", '--runtime-env={"working_dir": "/does/not/exist"}')
    assert code == 65 and "/does/not/exist" in errors and "Traceback" not in errors


def test_a_wrong_token_is_said(head: Head) -> None:
    code, _, errors = run(head, "stranger", "true", RAY_AUTH_TOKEN="c" * 64)
    assert code == 65 and "token" in errors and "Traceback" not in errors


def test_a_head_that_is_away_is_waited_for(head: Head, tmp_path: Path) -> None:
    """A job dies with the head it runs on: that is a failure, and is tried again."""
    entrypoint = f"echo x >> {tmp_path}/tries; echo begun; test $(wc -l < {tmp_path}/tries) -ge 2 || sleep 600"
    process = start(head, "patient", entrypoint, "--retries=1", "--pause=0.1")
    wait_until(lambda: (tmp_path / "tries").exists(), process)
    head.stop()
    head.start()
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "waiting for the head" in errors and "it is tried again" in errors
    assert out.splitlines().count("begun") == 2


def test_a_head_that_stays_away_is_given_up(head: Head) -> None:
    (port,) = free_ports(1)
    program = [sys.executable, str(HERE / "ray_job.py"), f"--address=http://127.0.0.2:{port}", "--name=x"]
    given_up = subprocess.run([*program, "--patience=1", "--", "true"], capture_output=True, text=True, timeout=60)
    assert given_up.returncode == 69 and "does not answer" in given_up.stderr
