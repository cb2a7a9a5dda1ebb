"""The supervisor on a real Ray, with a socket in systemd's place."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from ray._raylet import GcsClient  # type: ignore[attr-defined]

HERE = Path(__file__).parent
RAY = str(Path(sys.executable).parent / "ray")


class Notifications:
    """The socket that a unit of Type=notify talks to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.heard: list[str] = []

    def wait_for(self, line: str, seconds: float) -> None:
        """Read until the line was heard once more; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
            lines = self._socket.recv(4096).decode().splitlines()
            self.heard += lines
            if line in lines:
                return

    def wait_for_end(self, process: subprocess.Popen[str], seconds: float) -> int | None:
        """Read until the process has ended, as systemd does: the socket holds ten messages, and who sends more waits.
        Returns the exit code, None where it goes on."""
        deadline = time.monotonic() + seconds
        self._socket.settimeout(0.2)
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(TimeoutError):
                self.heard += self._socket.recv(4096).decode().splitlines()
        return process.returncode

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def notifications(tmp_path: Path) -> Iterator[Notifications]:
    listener = Notifications(tmp_path / "notify")
    yield listener
    listener.close()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface. Not those that the system hands out by itself: before the program listens, one
    of Ray's many other listeners would get it. Nor those that Ray's workers try in turn, from 10002 on."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(20000, 32768)
        with suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            ports += [port] * (port not in ports)
    return ports


def supervise(notifications: Notifications, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-SsE", str(HERE / "ray_node.py"), *arguments],
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(notifications.path.parent),
            "NOTIFY_SOCKET": str(notifications.path),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            **environ,
        },
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    """What systemd does with what is left in the unit's control group."""
    left = [] if process.poll() is not None else [psutil.Process(process.pid)]
    for started in [*left, *(p for parent in left for p in parent.children(recursive=True))]:
        # Some end with their parent.
        with suppress(psutil.NoSuchProcess):
            started.kill()
    process.communicate()


def head(temporary: Path, *arguments: str) -> tuple[list[str], list[str]]:
    """Arguments of the supervisor and of `ray start` for a small head without a dashboard."""
    gcs, raylet, objects = free_ports(3)
    return [f"--health=127.0.0.1:{gcs}", f"--health=127.0.0.1:{raylet}", *arguments], [
        *("--", RAY, "start", "--block", "--head", "--include-dashboard=false", "--node-ip-address=127.0.0.1"),
        *(f"--port={gcs}", f"--node-manager-port={raylet}", f"--object-manager-port={objects}"),
        *(f"--temp-dir={temporary}", "--num-cpus=1", f"--object-store-memory={80 * 1024 * 1024}"),
    ]


def wait_until_registered(gcs: str) -> None:
    """A raylet that is asked to end before the GCS has registered it waits for an answer that Ray never gives."""
    client, deadline = GcsClient(address=gcs), time.monotonic() + 60
    while not client.get_all_node_info():
        assert time.monotonic() < deadline, "the GCS has no node"
        time.sleep(0.1)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory whose name is short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="rn") as path:
        yield Path(path)


def test_ready_watched_and_stopped(
    notifications: Notifications, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    for number in range(3):
        (temporary / f"session_2020-01-0{number + 1}").mkdir()
    own, ray = head(temporary, f"--sessions={temporary}", "--keep-sessions=1")
    process = supervise(notifications, *own, *ray, WATCHDOG_USEC="3000000")
    try:
        notifications.wait_for("READY=1", 180)
        notifications.wait_for("WATCHDOG=1", 30)
        children = psutil.Process(process.pid).children(recursive=True)
        servers = [child for child in children if child.name() in ("raylet", "gcs_server")]
        assert len(servers) == 2
        wait_until_registered(own[0].removeprefix("--health="))
        process.send_signal(signal.SIGTERM)
        notifications.wait_for("STOPPING=1", 30)
        assert process.wait(60) == 0
        assert not psutil.wait_procs(servers, timeout=5)[1]
        assert sorted(path.name for path in temporary.glob("session_2020*")) == ["session_2020-01-03"]
    finally:
        end(process)


def test_a_vanished_raylet_is_noticed(
    notifications: Notifications, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    own, ray = head(temporary, "--grace=15")
    process = supervise(notifications, *own, *ray, WATCHDOG_USEC="3000000")
    try:
        notifications.wait_for("READY=1", 180)
        wait_until_registered(own[0].removeprefix("--health="))
        (raylet,) = (p for p in psutil.Process(process.pid).children(recursive=True) if p.name() == "raylet")
        raylet.terminate()  # on which `ray start --block` goes on as if nothing had happened
        assert notifications.wait_for_end(process, 60) == 69
        assert process.stderr is not None
        assert "no answer from" in process.stderr.read()
    finally:
        end(process)


def test_an_end_of_ray_is_an_end_with_its_code(notifications: Notifications) -> None:
    process = supervise(notifications, "--health=127.0.0.1:1", "--", "bash", "-c", "exit 7")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 7
    assert "ended by itself with code 7" in said


def test_even_a_success_of_ray_is_a_failure(notifications: Notifications) -> None:
    process = supervise(notifications, "--health=127.0.0.1:1", "--", "true")
    process.communicate(timeout=60)
    assert process.returncode == 1


def test_it_waits_for_the_head_and_can_be_stopped_meanwhile(notifications: Notifications) -> None:
    process = supervise(notifications, "--wait-for=127.0.0.1:1", "--health=127.0.0.1:1", "--", "false")
    notifications.wait_for("STATUS=waiting for the head at 127.0.0.1:1", 60)
    time.sleep(1.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_missing_gpus_are_named(notifications: Notifications) -> None:
    process = supervise(notifications, "--gpus=1000", "--health=127.0.0.1:1", "--", RAY, "start")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 78
    assert "this node declares 1000 GPUs and Ray sees " in said
    assert "services.ray.resources.gpus" in said


def test_a_call_without_health_is_refused() -> None:
    called = subprocess.run(
        [sys.executable, str(HERE / "ray_node.py"), "--", "true"], capture_output=True, text=True, timeout=60
    )
    assert called.returncode == 2
    assert "--health HOST:PORT" in called.stderr
