"""The durable tasks of the services: where they are, and how a replica asks for them without waiting in its loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import ray

from ..cluster.settings import default_namespace
from ..dispatch import TaskStore, TaskStoreError, TasksUnavailable, open_store
from ..dispatch.database import is_server
from ..dispatch.ledger import LEDGER, TASKS
from .refused import Refused, away

R = TypeVar("R")
#: Calls to the store at a time, of one replica. A choice.
_THREADS = 8


def place_of_tasks(given: str | None) -> str | None:
    """Where the tasks are: as given, or else as COGNITIVE_TASKS says; None where neither does.

    Raises ValueError for a path that is not absolute: it would be another one in each process.
    """
    label, place = ("tasks", given) if given else (TASKS, os.environ.get(TASKS) or None)
    if place is None or is_server(place):
        return place
    path = place.removeprefix("sqlite:///")
    if "://" in path or not Path(path).is_absolute():
        # What begins like a URL is not shown: it may have a password.
        shown = "" if "://" in path else f" is {place!r}, which"
        raise ValueError(
            f"{label}{shown or ', as it is,'} names no place that all replicas share; write an absolute path on the"
            " head, or postgresql://USER@HOST/DATABASE"
        )
    return place


def undurable_place() -> str:
    """A file in the directory of the running Ray: it is lost with the cluster, as agents without a store are."""
    return str(Path("/tmp/ray", ray.get_runtime_context().get_session_name(), "cognitive-tasks.db"))


def opened(given: str | None = None, ledger: str = LEDGER) -> tuple[TaskStore, str | None]:
    """The store of tasks, and its place as others can be told it: None for the server that COGNITIVE_TASKS names
    everywhere.

    given: its place, as :func:`cognitive_actors.dispatch.open_store` takes it, but no relative path; or None for the
    one that COGNITIVE_TASKS names, or else that of the ledger that is there, or else a file in the directory of the
    running Ray; ledger: the name of that ledger. Raises ValueError for a place that is none, and what ``open_store``
    does.
    """
    place, namespace = place_of_tasks(given), default_namespace()
    if place is None and not _is_there(ledger, namespace):
        place = undurable_place()
    store = open_store(place, namespace, ledger)
    return store, None if not given and is_server(place) else place or store.where


class SharedTasks:
    """The store of tasks that all replicas share, opened by the first call that needs it.

    given: as of :func:`opened`; opened: called once, in a thread, when the store has been opened, with the place as
    others can be told it; where it raises, it is called again at the next call. Raises ValueError for a place that is
    none.
    """

    def __init__(self, given: str | None = None, opened: Callable[[str | None], None] | None = None) -> None:
        place_of_tasks(given)
        self._given, self._opened = given, opened
        self._store: TaskStore | None = None
        self._lock = asyncio.Lock()
        self._threads = ThreadPoolExecutor(_THREADS, "tasks")

    @property
    def where(self) -> str | None:
        """The place without any password, None before it is opened."""
        return None if self._store is None else self._store.where

    @property
    def durable(self) -> bool | None:
        """Whether tasks outlive the cluster, None before the store is opened."""
        return None if self._store is None else self._store.where != undurable_place()

    async def ask(self, work: Callable[[TaskStore], R]) -> R:
        """What ``work`` returns, called with the store in a thread.

        Raises Refused (503) where the store does not answer, TaskStoreError where it is damaged or another one.
        """
        try:
            return await self._in_thread(partial(work, await self._ready_store()))
        except TasksUnavailable:
            raise away("the store of tasks does not answer at the moment; try again") from None

    async def ready(self, seconds: float) -> list[str]:
        """Why tasks cannot be asked for; nothing if they can."""
        try:
            await asyncio.wait_for(self.ask(lambda store: store.counts()), seconds)
        except (TimeoutError, Refused):
            return ["the store of tasks does not answer"]
        except (TaskStoreError, ValueError) as error:
            return [f"the store of tasks cannot be used: {error}"]
        return []

    async def _ready_store(self) -> TaskStore:
        async with self._lock:
            if self._store is None:
                opened: TaskStore = await self._in_thread(self._open)
                self._store = opened
            return self._store

    def _open(self) -> TaskStore:
        store, place = opened(self._given)
        if self._opened is not None:
            self._opened(place)
        return store

    async def _in_thread(self, work: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _is_there(ledger: str, namespace: str) -> bool:
    try:
        ray.get_actor(ledger, namespace=namespace)
    except ValueError:
        return False
    return True
