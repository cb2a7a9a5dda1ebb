"""The reaper: ends leases that ran out. Many may run, so that one is there; one at a time works."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import ray

from .content import printable_error
from .dispatcher import store_opener
from .ledger import LEDGER, where_of
from .pauses import Pauses
from .store import TaskStore

_log = logging.getLogger(__name__)
_ROLE = "reaper"
#: Tasks that are reaped or forgotten in one transaction; where it was so many, there are more.
_MANY = 1000


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, max_concurrency=4)
class Reaper:
    """Calls ``reap`` of a store every few seconds, for as long as it leads.

    tasks: their store, or its place as :func:`cognitive_actors.dispatch.open_store` takes it; every: seconds between
    two looks; lead: seconds after which another takes over from one that died, three times ``every`` if left out;
    forget: seconds after which tasks that were done or cancelled are removed, never if left out; ledger: the name of
    the ledger, where the place is a path. Raises ValueError for a number out of its range.
    """

    def __init__(
        self,
        tasks: TaskStore | str | Path | None,
        every: float = 5.0,
        lead: float | None = None,
        forget: float | None = None,
        ledger: str = LEDGER,
    ) -> None:
        lead = 3 * every if lead is None else lead
        if not 0 < every < lead < threading.TIMEOUT_MAX:
            raise ValueError(f"every is {every!r} s and lead {lead!r} s; write a number more than 0, and a larger one")
        if forget is not None and not forget >= 0:
            raise ValueError(f"forget is {forget!r}; write seconds, 0 or more, or None for never")
        self._made = {"tasks": where_of(tasks), "forget": forget}
        self._opened = store_opener(tasks, ledger)
        self._store: TaskStore | None = None
        self._every, self._lead, self._forget = every, lead, forget
        self._owner = secrets.token_hex(8)
        self._leading = False
        self._counts: Counter[str] = Counter()
        self._last_error: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)
        self._thread.start()

    def ready(self) -> None:
        """Return as soon as it works."""

    def status(self) -> dict[str, Any]:
        """Whether it leads, or has been told to stop, counters since this process began, the store's last error.
        ``made``: with what, where its ``tasks`` are, without any password, and ``forget``."""
        names = ("requeued", "dead", "forgotten", "outages")
        counts = {name: self._counts[name] for name in names}
        return {
            "owner": self._owner,
            "leading": self._leading,
            "stopping": self._stopping.is_set(),
            **counts,
            "last_error": self._last_error,
            "made": self._made,
        }

    def stop(self, seconds: float = 30.0) -> bool:
        """Let another lead at once. Returns whether it has ended within so many seconds."""
        self._stopping.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        away = Pauses(0.1, self._every)
        while not self._stopping.is_set():
            try:
                self._turn()
                away.reset()
                wait = self._every
            except Exception as error:
                # It may lead or not; whoever does is told so by the store the next time.
                self._leading = False
                self._counts["outages"] += 1
                self._last_error = printable_error(f"{type(error).__name__}: {error}")
                _log.warning("reaper: %s", self._last_error)
                wait = away.next()
            self._stopping.wait(wait)
        try:
            if self._store is not None:
                self._store.resign(_ROLE, self._owner)
        except Exception as error:
            _log.warning("reaper: %s; another one leads in %g s", error, self._lead)
        self._leading = False

    def _turn(self) -> None:
        self._store = self._store or self._opened()
        more = True
        while more and not self._stopping.is_set():
            self._leading = self._store.lead(_ROLE, self._owner, self._lead)
            if not self._leading:
                return
            reaped = self._store.reap()
            gone = 0 if self._forget is None else self._store.forget(self._forget, _MANY)
            self._counts.update(requeued=reaped.requeued, dead=reaped.dead, forgotten=gone)
            more = reaped.requeued + reaped.dead >= _MANY or gone >= _MANY
