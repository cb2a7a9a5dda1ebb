"""A driver that asks its cluster again and again, and writes down every answer: `began ended value`.

Times are nanoseconds of the clock that machines of one computer share. `failed began ended error` says that there was
no answer. Before the first answer to a question about a process, `process PID` names it. Of the standard library and
Ray only, because it runs on a machine of the cluster: `probe.py FILE (actor|task|call|node) ADDRESS`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import ray
from ray.core.generated.gcs_pb2 import GcsNodeInfo

_NAME = "named"
_PAUSE = 0.02
# An answer that takes longer than this is asked for anew.
_PATIENCE = 5.0


class Named:
    """An actor that says which process it is."""

    def process(self) -> int:
        return os.getpid()


def actor_on(address: str) -> Any:
    """The named actor, which Ray starts again on its node for ever; made when there is none yet."""
    made = ray.remote(num_cpus=0, max_restarts=-1)(Named)
    options = made.options(name=_NAME, lifetime="detached", get_if_exists=True, resources={f"node:{address}": 0.001})
    return options.remote()


def asks_actor(address: str, out: TextIO) -> Callable[[], str]:
    """The process of the actor."""
    actor = actor_on(address)
    print("process", ray.get(actor.process.remote(), timeout=60), file=out)
    return lambda: str(ray.get(actor.process.remote(), timeout=_PATIENCE))


def asks_by_name(address: str, _out: TextIO) -> Callable[[], str]:
    """The process of the actor, after its name was looked up in the GCS."""
    ray.get(actor_on(address).process.remote(), timeout=60)

    def ask() -> str:
        assert _NAME in ray.util.list_named_actors()
        return str(ray.get(ray.get_actor(_NAME).process.remote(), timeout=_PATIENCE))

    return ask


def asks_task(address: str, out: TextIO) -> Callable[[], str]:
    """The result of a task whose first process never has one."""
    first = Path("/var/lib/ray/first-attempt")
    first.unlink(missing_ok=True)

    def task() -> int:
        if not first.exists():
            first.write_text(str(os.getpid()))
            time.sleep(3600)
        return os.getpid()

    made: Any = ray.remote(num_cpus=0, max_retries=-1, resources={f"node:{address}": 0.001})(task)
    result = made.remote()
    while not (first.exists() and first.read_text()):
        time.sleep(_PAUSE)
    print("process", first.read_text(), file=out)
    return lambda: str(ray.get(result))


def asks_node(address: str, _out: TextIO) -> Callable[[], str]:
    """The nodes that are alive at an address, joined by plus signs: the GCS may believe so of the one before too."""

    # Not ray.nodes(): in a driver that has seen its head lose power it was seen to wait for minutes.
    gcs = ray._private.worker.global_worker.gcs_client

    def ask() -> str:
        nodes = gcs.get_all_node_info(timeout=_PATIENCE)
        alive = [
            str(name.hex())
            for name, node in nodes.items()
            if node.state == GcsNodeInfo.ALIVE and node.node_manager_address == address
        ]
        if not alive:
            raise LookupError(f"no node is alive at {address}")
        return "+".join(sorted(alive))

    return ask


QUESTIONS = {"actor": asks_actor, "call": asks_by_name, "task": asks_task, "node": asks_node}


def main(file: str, question: str, address: str) -> None:
    """Ask until this process is ended."""
    ray.init(address="auto", logging_level="ERROR", log_to_driver=False, namespace="recovery")
    with open(file, "w", buffering=1) as out:
        ask = QUESTIONS[question](address, out)
        while True:
            began = time.time_ns()
            try:
                value = ask()
            except Exception as error:
                print("failed", began, time.time_ns(), type(error).__name__, file=out)
                time.sleep(_PAUSE)
                continue
            print(began, time.time_ns(), value, file=out)
            time.sleep(_PAUSE)


if __name__ == "__main__":
    main(*sys.argv[1:4])
