"""Serve applications as a unit keeps them, on a real Ray with its dashboard."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from test_ray_job import TOKEN, Head
from test_ray_node import HERE, Notifications, free_ports

SAMPLE = """
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0})
class Sample:
    def __init__(self, word):
        self.word = word
    def __call__(self, request):
        return self.word

def build(args):
    if "fault" in args:
        raise LookupError(args["fault"])
    return Sample.bind(args["word"])
"""


class Kept:
    """A running ray_serve.py, with a socket in systemd's place."""

    def __init__(self, head: Head, directory: Path, *options: str) -> None:
        self.config = directory / "serve.json"
        self._notifications = Notifications(directory / "n")
        (self.port,) = free_ports(1)
        self._command = [sys.executable, "-SsE", str(HERE / "ray_serve.py"), f"--address={head.address}"]
        self._command += [f"--config={self.config}", *options]

    def write(self, **applications: dict[str, Any]) -> None:
        listed = [
            {"name": name, "route_prefix": f"/{name}", "import_path": "sample_application:build", "args": args}
            for name, args in applications.items()
        ]
        http = {"host": "127.0.0.1", "port": self.port}
        self.config.write_text(json.dumps({"http_options": http, "applications": listed}))

    def start(self, **environ: str) -> None:
        self.process = subprocess.Popen(
            self._command,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": TOKEN,
                "NOTIFY_SOCKET": str(self._notifications.path),
                **environ,
            },
        )

    def await_ready(self) -> None:
        self._notifications.wait_for("READY=1", 90)

    def get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                return str(response.read().decode())
        except (OSError, urllib.error.HTTPError):
            return None

    def ended(self, seconds: float = 90) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, errors

    def stop(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self._notifications.close()


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with tempfile.TemporaryDirectory(prefix="rs", ignore_cleanup_errors=True) as directory:
        (Path(directory) / "sample_application.py").write_text(SAMPLE)
        running = Head(Path(directory), PYTHONPATH=directory)
        yield running
        running.stop()


@pytest.fixture(scope="module")
def kept(head: Head) -> Iterator[Kept]:
    """One for all tests: where Serve listens does not change while the head runs."""
    with tempfile.TemporaryDirectory(prefix="rk") as directory:
        made = Kept(head, Path(directory))
        made.write(one={"word": "first"})
        made.start()
        made.await_ready()
        yield made
        made.close()


def wait_until(condition: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


def test_ready_means_served(kept: Kept) -> None:
    assert kept.get("/one") == "first"


def test_a_changed_file_changes_what_is_served_and_drops_no_request(kept: Kept) -> None:
    stop, answers = Event(), []

    def ask() -> None:
        while not stop.is_set():
            answers.append(kept.get("/one"))

    asking = Thread(target=ask)
    asking.start()
    try:
        kept.write(one={"word": "second"}, two={"word": "other"})
        kept.process.send_signal(signal.SIGHUP)
        kept.await_ready()
        wait_until(lambda: kept.get("/two") == "other" and answers[-1] == "second")
    finally:
        stop.set()
        asking.join()
    assert set(answers) == {"first", "second"}, "a request was dropped"


def test_what_is_taken_out_of_the_file_is_taken_down(kept: Kept) -> None:
    kept.write(one={"word": "second"})
    kept.process.send_signal(signal.SIGHUP)
    kept.await_ready()
    wait_until(lambda: kept.get("/two") is None)
    assert kept.get("/one") == "second"


def test_a_file_that_is_none_changes_nothing(kept: Kept) -> None:
    kept.config.write_text("{")
    kept.process.send_signal(signal.SIGHUP)
    assert kept.process.stderr is not None
    assert any("what is served stays as it is" in line for line in kept.process.stderr)
    assert kept.get("/one") == "second"


def test_what_somebody_has_taken_down_comes_again(kept: Kept, head: Head) -> None:
    request = urllib.request.Request(f"{head.address}/api/serve/applications/", method="DELETE")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    urllib.request.urlopen(request, timeout=60).close()
    wait_until(lambda: kept.get("/one") == "second")


def test_a_head_that_starts_anew_serves_again(kept: Kept, head: Head) -> None:
    head.stop()
    head.start()
    wait_until(lambda: kept.get("/one") == "second", 120)
    assert kept.process.poll() is None


def test_an_application_that_does_not_come_up_is_a_failure_with_its_reason(kept: Kept, head: Head) -> None:
    kept.write(one={"word": "second"}, bad={"fault": "the reason"})
    kept.process.send_signal(signal.SIGHUP)
    code, errors = kept.ended()
    assert code == 65 and "application 'bad' does not come up" in errors and "the reason" in errors
    # The one that was well goes on.
    assert kept.get("/one") == "second"


def test_sigterm_takes_all_down(kept: Kept) -> None:
    kept.write(one={"word": "third"})
    kept.start()
    kept.await_ready()
    wait_until(lambda: kept.get("/one") == "third")
    code, errors = kept.stop()
    assert code == 0, errors
    wait_until(lambda: kept.get("/one") is None)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"applications": [{}]}', '{"applications": 7}'])
def test_there_is_no_start_with_a_file_that_is_none(kept: Kept, content: str) -> None:
    kept.config.write_text(content)
    kept.start()
    code, errors = kept.ended()
    assert code == 65 and "is no configuration of Serve" in errors and "Traceback" not in errors


def test_a_wrong_token_is_refused(kept: Kept) -> None:
    kept.write(one={"word": "x"})
    kept.start(RAY_AUTH_TOKEN="c" * 64)
    code, errors = kept.ended()
    assert code == 65 and "403 Forbidden" in errors and "Traceback" not in errors


@pytest.mark.parametrize(
    "answer, said",
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 14\r\n\nGCS is away.\r\n", "503 GCS is away."),
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100\r\n\nhalf", "500 "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\n{", "IncompleteRead"),
        (b"nonsense\r\n", "nonsense"),
    ],
)
def test_a_fault_behind_the_dashboard_is_waited_out(tmp_path: Path, answer: bytes, said: str) -> None:
    config = tmp_path / "serve.json"
    config.write_text('{"applications": []}')
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def respond() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)

        Thread(target=respond, daemon=True).start()
        address = f"--address=http://127.0.0.1:{listener.getsockname()[1]}"
        program = [sys.executable, str(HERE / "ray_serve.py"), address, f"--config={config}", "--patience=3"]
        ended = subprocess.run(program, capture_output=True, text=True, timeout=60)
        listener.shutdown(socket.SHUT_RDWR)
    assert ended.returncode == 69 and "does not answer" in ended.stderr and said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_head_that_stays_away_is_given_up(tmp_path: Path, head: Head) -> None:
    (port,) = free_ports(1)
    config = tmp_path / "serve.json"
    config.write_text('{"applications": []}')
    program = [sys.executable, str(HERE / "ray_serve.py"), f"--address=http://127.0.0.2:{port}"]
    given_up = subprocess.run(
        [*program, f"--config={config}", "--patience=1"], capture_output=True, text=True, timeout=60
    )
    assert given_up.returncode == 69 and "does not answer" in given_up.stderr
