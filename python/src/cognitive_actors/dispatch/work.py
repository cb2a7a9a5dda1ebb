"""What a dispatcher does: claim tasks, work on them, say how they ended, and keep their leases meanwhile.

One thread talks to the store about claims and results, so that they are batches; one keeps the leases; the handlers run
in others. Nothing that a store or a handler raises ends a loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .content import encode, printable_error
from .errors import TaskHopeless
from .handlers import Handler
from .pauses import Pauses
from .store import MOST, TaskStore
from .task import Claim, Owner

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How a dispatcher works.

    concurrency: handlers that run at once, each in a thread; batch: tasks it holds at most, those that wait for a
    thread included; lease: seconds for which it holds them unless it says that it is alive, which it does three times
    as often; idle: seconds between two looks at a queue that is empty or a store that is away, at most; linger: seconds
    that a result may wait for others to be recorded with. Raises ValueError for a number out of its range.
    """

    concurrency: int = 1
    batch: int = 16
    lease: float = 30.0
    idle: float = 2.0
    linger: float = 0.02

    def __post_init__(self) -> None:
        for name in ("concurrency", "batch"):
            if not 1 <= getattr(self, name) <= MOST:
                raise ValueError(f"{name} is {getattr(self, name)!r}; write a whole number between 1 and {MOST}")
        for name in ("lease", "idle"):
            if not 0 < getattr(self, name) < threading.TIMEOUT_MAX:
                raise ValueError(f"{name} is {getattr(self, name)!r} s; write a finite number, more than 0")
        if not 0 <= self.linger < self.lease:
            raise ValueError(f"linger is {self.linger!r} s; write 0 or more, and less than the lease of {self.lease} s")


@dataclass(frozen=True)
class _Ending:
    """How work on a task ended: with a result, or with an error; hopeless: one that will come each time."""

    claim: Claim
    result: Any = None
    error: str | None = None
    hopeless: bool = False


class Work:
    """The loops of one dispatcher. They run from ``start`` until ``stop``."""

    def __init__(
        self, opened: Callable[[], TaskStore], owner: Owner, handlers: dict[str, Handler], pace: Pace | None = None
    ) -> None:
        """opened: gives the store; called again until it does."""
        self.owner, self._opened, self._handlers, self._pace = owner, opened, handlers, pace or Pace()
        self._store: TaskStore | None = None
        self._change = threading.Condition()
        # Guarded by it: what is held, by id, and what has ended of that.
        self._held: dict[str, tuple[Claim, Future[None]]] = {}
        self._ended: list[_Ending] = []
        self._counts: Counter[str] = Counter()
        self._last_error: str | None = None
        self._stopping = threading.Event()
        self._drained = threading.Event()
        self._drain_seconds = 0.0
        self._idle = Pauses(0.05, self._pace.idle)
        self._claim_at, self._request, self._requests = 0.0, "", 0
        self._threads = ThreadPoolExecutor(self._pace.concurrency, thread_name_prefix="task")

    def start(self) -> None:
        """Begin to work."""
        for loop in (self._run, self._keep_leases):
            threading.Thread(target=loop, name=f"dispatcher {loop.__name__}", daemon=True).start()

    def stop(self, seconds: float) -> bool:
        """Claim no more, give back what was not begun, and wait so many seconds for what was; the rest is given back.

        Returns whether all of it was: not where the store is away, so that leases have to run out.
        """
        self._drain_seconds = seconds
        self._stopping.set()
        with self._change:
            self._change.notify_all()
        self._drained.wait(seconds + self._pace.lease)
        with self._change:
            return self._drained.is_set() and not self._held

    def status(self) -> dict[str, Any]:
        """Counters since this process began, what is held now, and the last error of the store."""
        names = ("claimed", "done", "failed", "lost", "released", "outages")
        with self._change:
            return {
                "name": self.owner.name,
                "incarnation": self.owner.incarnation,
                "kinds": sorted(self._handlers),
                **{name: self._counts[name] for name in names},
                "held": len(self._held),
                "stopping": self._stopping.is_set(),
                "stopped": self._drained.is_set(),
                "last_error": self._last_error,
            }

    def _run(self) -> None:
        away = Pauses(0.1, self._pace.idle)
        while not self._stopping.is_set():
            try:
                self._turn(self._ready_store())
                away.reset()
            except Exception as error:
                self._note(error)
                self._stopping.wait(away.next())
        try:
            self._drain(time.monotonic() + self._drain_seconds)
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._drained.set()

    def _ready_store(self) -> TaskStore:
        if self._store is None:
            store = self._opened()
            # What an earlier process of this dispatcher held need not wait for its lease to run out.
            store.abandon(self.owner)
            self._store = store
        return self._store

    def _turn(self, store: TaskStore) -> None:
        """Claim where there is room, and record what has ended, once."""
        now = time.monotonic()
        with self._change:
            room = self._pace.batch - len(self._held)
        if now >= self._claim_at and 2 * room >= self._pace.batch:
            self._take(store, room)
        with self._change:
            timeout = max(0.0, self._claim_at - time.monotonic()) if not self._held else min(0.5, self._pace.idle)
            self._change.wait_for(lambda: self._ended or self._stopping.is_set(), timeout)
            if self._ended:
                enough = (self._pace.batch + 1) // 2
                self._change.wait_for(
                    lambda: len(self._ended) >= min(enough, len(self._held)) or self._stopping.is_set(),
                    self._pace.linger,
                )
        self._say_endings(store)

    def _take(self, store: TaskStore, room: int) -> None:
        if not self._request:
            self._requests += 1
            self._request = f"{self.owner.incarnation}:{self._requests}"
        # Under the same name until it is answered: what was claimed without our knowing is ours all the same.
        claims = store.claim(self.owner, list(self._handlers), room, self._pace.lease, self._request)
        self._request = ""
        if len(claims) == room:
            self._idle.reset()
            self._claim_at = 0.0
        else:
            if claims:
                self._idle.reset()
            self._claim_at = time.monotonic() + self._idle.next()
        with self._change:
            self._counts["claimed"] += len(claims)
            for claim in claims:
                self._held[claim.id] = claim, self._threads.submit(self._work_on, claim)

    def _work_on(self, claim: Claim) -> None:
        try:
            result = self._handlers[claim.kind](claim)
            encode(result, "the result")
            ending = _Ending(claim, result)
        # Whatever it is, it is the task's error and no reason to end this thread.
        except BaseException as error:
            said = printable_error(f"{type(error).__name__}: {error}")
            ending = _Ending(claim, error=said, hopeless=isinstance(error, TaskHopeless))
        with self._change:
            self._ended.append(ending)
            self._change.notify_all()

    def _say_endings(self, store: TaskStore) -> None:
        with self._change:
            done = [ending for ending in self._ended if ending.error is None]
            failed = [ending for ending in self._ended if ending.error is not None]
        if done:
            self._said(done, "done", store.complete([(ending.claim, ending.result) for ending in done]))
        for hopeless in (False, True):
            such = [ending for ending in failed if ending.hopeless is hopeless]
            if such:
                errors = [(ending.claim, str(ending.error)) for ending in such]
                self._said(such, "failed", store.fail(errors, hopeless=hopeless))

    def _said(self, endings: list[_Ending], count: str, heard: Collection[str]) -> None:
        with self._change:
            said = {id(ending) for ending in endings}
            self._ended = [ending for ending in self._ended if id(ending) not in said]
            for claim in (ending.claim for ending in endings):
                # It is another claim where this one was lost, and its task came back here.
                if claim.id in self._held and self._held[claim.id][0] is claim:
                    del self._held[claim.id]
            self._counts[count] += len(heard)
            self._counts["lost"] += len(endings) - len(heard)

    def _keep_leases(self) -> None:
        away = Pauses(0.1, self._pace.lease / 10)
        wait = self._pace.lease / 3
        while not self._drained.wait(wait):
            with self._change:
                held = [claim for claim, _ in self._held.values()]
            wait = self._pace.lease / 3
            try:
                if held and self._store is not None:
                    kept = set(self._store.extend(held, self._pace.lease))
                    self._drop_lost([claim for claim in held if claim.id not in kept])
                away.reset()
            except Exception as error:
                self._note(error)
                wait = away.next()

    def _drop_lost(self, lost: list[Claim]) -> None:
        """Do not begin with what another has now. What was begun goes on, and the store does not hear of its end."""
        with self._change:
            for claim in lost:
                current, future = self._held.get(claim.id, (None, None))
                if current is claim and future is not None and future.cancel():
                    del self._held[claim.id]
                    self._counts["lost"] += 1

    def _drain(self, end: float) -> None:
        away = Pauses(0.1, 1.0)
        self._give_back(lambda future: future.cancel())
        while True:
            with self._change:
                left = end - time.monotonic()
                self._change.wait_for(lambda: self._ended or not self._held, max(0.0, min(left, 0.5)))
                if not self._held:
                    return
            try:
                if self._store is not None:
                    self._say_endings(self._store)
            except Exception as error:
                self._note(error)
                if left > 0:
                    time.sleep(min(left, away.next()))
            if left <= 0:
                self._give_back(lambda future: True)
                return

    def _give_back(self, chosen: Callable[[Future[None]], bool]) -> None:
        with self._change:
            claims = [claim for claim, future in self._held.values() if chosen(future)]
        try:
            released = self._store.release(claims) if self._store is not None else []
        except Exception as error:
            # Their leases run out.
            self._note(error)
            return
        with self._change:
            self._counts["released"] += len(released)
            for claim in claims:
                self._held.pop(claim.id, None)

    def _note(self, error: Exception) -> None:
        with self._change:
            self._counts["outages"] += 1
            self._last_error = printable_error(f"{type(error).__name__}: {error}")
        _log.warning("dispatcher %s: %s", self.owner.name, self._last_error)
