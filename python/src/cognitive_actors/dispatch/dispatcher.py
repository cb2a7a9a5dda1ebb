"""Dispatchers: actors that work through tasks, and begin again by themselves when they were killed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

from .content import check_text
from .handlers import load_handlers
from .ledger import LEDGER, open_store, where_of
from .store import TaskStore
from .task import Owner
from .work import Pace, Work


@ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1, max_concurrency=4)
class QueueDispatcher:
    """Claims tasks and works on them from the moment it is there, and after each restart.

    tasks: their store, or its place as :func:`cognitive_actors.dispatch.open_store` takes it; handlers: for each kind
    of task a function, as "module:function", that gets the Claim and returns the result, JSON of 1 MiB at most; what it
    raises is the task's error, and TaskHopeless its last. A handler may be called again for a task whose dispatcher was
    lost, so let what it does outside be harmless to repeat (``claim.id`` tells that it is the same task). pace: see
    Pace; name: of this dispatcher, no two of which may have the same; ledger: the name of the ledger, where the place
    is a path.

    A store that is away is waited for. Raises ValueError for handlers that cannot be imported, and other arguments that
    cannot be used.
    """

    def __init__(
        self,
        tasks: TaskStore | str | Path | None,
        handlers: Mapping[str, str],
        pace: Pace | None = None,
        name: str | None = None,
        ledger: str = LEDGER,
    ) -> None:
        actor = str(ray.get_runtime_context().get_actor_id())
        owner = Owner(check_text(name or f"dispatcher-{actor}", "name"), secrets.token_hex(8))
        loaded = load_handlers(handlers)
        self._made = {"tasks": where_of(tasks), "handlers": dict(handlers)}
        self._work = Work(store_opener(tasks, ledger), owner, loaded, pace)
        self._work.start()

    def ready(self) -> None:
        """Return as soon as it works."""

    def status(self) -> dict[str, Any]:
        """Counters since this process began, what it holds, and the last error of the store. ``made``: with what, where
        its ``tasks`` are, without any password, and its ``handlers``."""
        return {**self._work.status(), "made": self._made}

    def stop(self, seconds: float = 30.0) -> bool:
        """Claim no more, give back what was not begun, and wait so many seconds for what was; then give that back too.

        Returns whether nothing is held any more. The actor stays, idle: end it with ``ray.kill``.
        """
        return self._work.stop(seconds)


def store_opener(tasks: TaskStore | str | Path | None, ledger: str) -> Any:
    """A function that gives the store: the one that was given, or that of a place."""
    return (lambda: tasks) if isinstance(tasks, TaskStore) else (lambda: open_store(tasks, name=ledger))
