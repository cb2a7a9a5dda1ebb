"""Actors of the dispatch as tests start them, kill them and wait for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from cognitive_actors.dispatch import LedgerStore, Retries, TaskStore

HANDLERS = {kind: f"task_handlers:{kind}" for kind in ("square", "gather", "fails", "effect", "waits_at_first")}
#: Tried again at once, and as often as a test kills.
OFTEN = Retries(attempts=1000, first=0.01, most=0.1)
#: Where the actors' processes find the handlers of tests.
SURROUNDINGS = {
    "env_vars": {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
}


def answer(reference: Any, seconds: float = 180.0) -> Any:
    """What a call returns, in time."""
    return ray.get(reference, timeout=seconds)


def make(kind: Any, *arguments: Any, **options: Any) -> Any:
    """An actor that finds the handlers and needs no CPU of its own. It may still be starting."""
    return kind.options(num_cpus=0, runtime_env=SURROUNDINGS).remote(*arguments, **options)


def start(kind: Any, *arguments: Any, **options: Any) -> Any:
    """The same, when it works."""
    actor = make(kind, *arguments, **options)
    answer(actor.ready.remote())
    return actor


@contextmanager
def ended(*actors: Any) -> Iterator[None]:
    """End actors in the end, whatever happens."""
    try:
        yield
    finally:
        for actor in actors:
            with suppress(RayError):
                ray.kill(actor)


def end_ledger(store: TaskStore) -> None:
    """End the ledger of a store, if it has one."""
    if isinstance(store, LedgerStore):
        with ended(store.ledger):
            pass


def process_of(actor: Any) -> int:
    """The number of the process an actor lives in."""
    number: int = answer(actor.__ray_call__.remote(lambda self: os.getpid()))
    return number


def kill(actor: Any) -> int:
    """kill -9 the process of an actor. Ray starts it again. Returns the number of the process."""
    pid = process_of(actor)
    os.kill(pid, signal.SIGKILL)
    return pid


def is_dead(actor: Any) -> bool:
    """Whether an actor is dead for good. One that `ray.kill` was asked to end may still answer for a while."""
    try:
        process_of(actor)
    except RayActorError:
        return True
    return False
