"""More nodes for this process' Ray, on the same machine: each a raylet that can be killed, with what it says it has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ray
from processes import descendants

from cognitive_actors.llama.resources import COORDINATOR, rpc_resource

RAY = Path(sys.executable).parent / "ray"


@dataclass(frozen=True)
class Raylet:
    """A node. id: in Ray; process: of ``ray start``."""

    name: str
    id: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """What a lost power does to it: all of its processes are gone at once."""
        for pid in (self.process.pid, *descendants(self.process.pid)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


def _start(name: str, endpoints: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    resources = {COORDINATOR: 1, **{rpc_resource(endpoint): 1 for endpoint in endpoints}}
    options = {
        "address": ray.get_runtime_context().gcs_address,
        "num-cpus": "0",
        "object-store-memory": str(80 << 20),
        "labels": f"machine={name}",
        "resources": json.dumps(resources),
    }
    command = [str(RAY), "start", "--block", "--disable-usage-stats"]
    command += [f"--{key}={value}" for key, value in options.items()]
    with open(log, "wb") as output:
        return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def _joined(name: str) -> str | None:
    ids = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Labels"].get("machine") == name]
    return ids[0] if ids else None


@contextmanager
def raylets(offered: Mapping[str, Sequence[str]], directory: Path) -> Iterator[dict[str, Raylet]]:
    """Nodes by name, each with a slot for a coordinator and the RPC servers of some endpoints."""
    started: dict[str, subprocess.Popen[bytes]] = {}
    found: dict[str, Raylet] = {}
    try:
        # One after the other: several at once are slow to start on a few cores, and Ray gives each 30 s.
        for name, endpoints in offered.items():
            log = directory / f"{name}.log"
            started[name] = _start(name, endpoints, log)
            end = time.monotonic() + 300
            while (node := _joined(name)) is None:
                if started[name].poll() is not None and time.monotonic() < end:
                    # Ray gave it up on a busy machine.
                    started[name] = _start(name, endpoints, log)
                assert time.monotonic() < end, log.read_text(errors="replace")
                time.sleep(0.1)
            found[name] = Raylet(name, node, started[name])
        yield found
    finally:
        for name, process in started.items():
            Raylet(name, "", process).kill()
