"""A worker that leaves a real cluster of two nodes, and what it held for a driver elsewhere."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray

from ray_node import store_was_used
from test_ray_node import HERE, RAY, Notifications, end, free_ports, supervise

HEAD, WORKER = "127.0.0.2", "127.0.0.3"
SIZE = 1 << 20


def node(address: str, temporary: Path, *start: str) -> tuple[str, list[str]]:
    """The raylet's address and `ray start` of a small node."""
    raylet, objects = free_ports(2)
    return f"{address}:{raylet}", [
        *("--", RAY, "start", "--block", *start, f"--node-ip-address={address}", f"--node-manager-port={raylet}"),
        *(f"--object-manager-port={objects}", f"--temp-dir={temporary}", "--num-cpus=1"),
        f"--object-store-memory={80 * 1024 * 1024}",
    ]


class Cluster:
    """A head and a worker, each under its supervisor, and this process as a driver on the head."""

    def __init__(self, directory: Path) -> None:
        (gcs,) = free_ports(1)
        self.gcs = f"{HEAD}:{gcs}"
        self._notifications: list[Notifications] = []
        self._directory = directory
        self._processes: list[subprocess.Popen[str]] = []
        raylet, command = node(HEAD, directory / "h", "--head", "--include-dashboard=false", f"--port={gcs}")
        self._start("head", f"--health={self.gcs}", f"--health={raylet}", *command)
        self.raylet, command = node(WORKER, directory / "w", f"--address={self.gcs}")
        self.worker = self._start("worker", f"--wait-for={self.gcs}", f"--health={self.raylet}", *command)
        ray.init(address=self.gcs, _node_ip_address=HEAD, log_to_driver=False)

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[str]:
        notifications = Notifications(self._directory / name)
        self._notifications.append(notifications)
        process = supervise(notifications, *arguments, RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="120")
        self._processes.append(process)
        notifications.wait_for("READY=1", 60)
        return process

    def leave(self) -> None:
        """Ask the worker to stop. What it has said meanwhile is read: once ten messages are there, it waits."""
        self.worker.send_signal(signal.SIGTERM)
        self._notifications[-1].wait_for("STOPPING=1", 60)

    def close(self) -> None:
        ray.shutdown()
        for process in reversed(self._processes):
            end(process)
        for notifications in self._notifications:
            notifications.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # Workers cannot import this module: it is on the path of pytest only.
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with tempfile.TemporaryDirectory(prefix="ev", ignore_cleanup_errors=True) as directory:
        made = Cluster(Path(directory))
        yield made
        made.close()


def make(number: int, until: Any = None) -> Any:
    if until is not None:
        Path(until).read_bytes()  # a FIFO: until somebody writes
    return np.full(SIZE, number, dtype=np.uint8)


def put() -> list[Any]:
    return [ray.put(np.ones(SIZE, dtype=np.uint8))]


result: Any = ray.remote(resources={f"node:{WORKER}": 0.001}, num_cpus=0, max_retries=0)(make)
# With retries the driver remembers the task, whose `ray.put` it might be taken to own.
lent: Any = ray.remote(resources={f"node:{WORKER}": 0.001}, num_cpus=0, max_retries=3)(put)


def test_results_outlive_the_node_where_they_were_made(cluster: Cluster, tmp_path: Path) -> None:
    (start,) = (p for p in psutil.Process(cluster.worker.pid).children() if p.name() != "raylet")
    assert not store_was_used(start.pid)
    fifo = tmp_path / "fifo"
    subprocess.run(["mkfifo", fifo], check=True)
    done = [result.remote(number) for number in range(8)]
    ray.wait(done, num_returns=len(done), fetch_local=False)
    outer = lent.remote()
    (borrowed,) = ray.get(outer)
    running = result.remote(8, str(fifo))
    assert store_was_used(start.pid)
    with fifo.open("w"):  # opens when the task has begun
        cluster.leave()
        assert cluster.worker.stderr is not None
        line = next(line for line in cluster.worker.stderr if "of others are copied" in line)
        assert "ray-node: 8 objects (8.4 MB) of others are copied to nodes that stay" in line
    assert cluster.worker.wait(120) == 0
    values = ray.get([*done, running], timeout=60)
    assert [int(value[0]) for value in values] == list(range(9))
    with pytest.raises(ray.exceptions.OwnerDiedError):
        ray.get(borrowed, timeout=60)
    assert all((value == value[0]).all() and value.nbytes == SIZE for value in values)


def test_a_node_that_is_not_there_is_said_in_one_line(cluster: Cluster) -> None:
    program = [sys.executable, str(HERE / "evacuate.py")]
    call = [*program, f"--gcs={cluster.gcs}", "--raylet=127.0.0.9:1", "--seconds=30"]
    called = subprocess.run(call, capture_output=True, text=True, timeout=60)
    assert called.returncode == 1
    assert called.stderr.splitlines() == [
        "ray-node: objects were left on this node: LookupError: "
        f"the cluster at {cluster.gcs} has no living node 127.0.0.9:1"
    ]
