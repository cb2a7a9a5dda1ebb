"""The loops of a dispatcher in this process, on stores that lose answers, lose leases and go away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from waiting import until

from cognitive_actors.dispatch import (
    Claim,
    NewTask,
    Owner,
    Retries,
    SqlTaskStore,
    TaskHopeless,
    TaskStore,
    TasksUnavailable,
)
from cognitive_actors.dispatch.work import Pace, Work

ONCE = Retries(attempts=1)


class Faulty:
    """A store of which each fifth call is not carried out and each fifth is, but unanswered; ``away`` all are not."""

    def __init__(self, store: TaskStore, faulty: bool) -> None:
        self._store, self.faulty, self.away, self._calls, self.failures = store, faulty, False, 0, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._calls += 1
            if self.away or (self.faulty and self._calls % 5 == 2):
                self.failures += 1
                raise TasksUnavailable("no answer")
            answer = method(*arguments, **options)
            if self.faulty and self._calls % 5 == 4:
                self.failures += 1
                raise TasksUnavailable("the answer was lost")
            return answer

        return call


@contextmanager
def working(store: Any, owner: Owner, handler: Any, pace: Pace) -> Iterator[Work]:
    work = Work(lambda: store, owner, {"x": handler}, pace)
    work.start()
    try:
        yield work
    finally:
        store.away = False
        work.stop(10.0)


def test_lost_answers_cost_neither_attempts_nor_results(store: TaskStore, owner: Owner) -> None:
    faulty = Faulty(store, True)
    ids = store.enqueue([NewTask("x", n, retries=ONCE) for n in range(100)])
    bad = store.enqueue([NewTask("x", None, retries=Retries(attempts=2, first=0.0)) for _ in range(20)])
    with working(faulty, owner, lambda claim: claim.payload + 1, Pace(batch=8, concurrency=2, idle=0.1)) as work:
        until(lambda: store.counts()["done"] == 100 and store.counts()["dead"] == 20, "the work")
        status = work.status()
    tasks = [store.get(i) for i in ids]
    assert {(t.attempts, t.completions) for t in tasks if t is not None} == {(1, 1)}
    assert [store.result(i) for i in ids] == [n + 1 for n in range(100)]
    assert {store.get(i).attempts for i in bad} == {2}  # type: ignore[union-attr]
    assert faulty.failures >= 5 and status["outages"] >= 5 and "TasksUnavailable" in status["last_error"]


def test_what_was_lost_is_not_begun_and_its_result_not_heard(store: TaskStore, owner: Owner) -> None:
    go, begun = threading.Event(), list[str]()

    def handler(claim: Claim) -> str:
        begun.append(claim.id)
        go.wait(60)
        return "mine"

    faulty = Faulty(store, False)
    ids = store.enqueue([NewTask("x", retries=Retries(first=0.0)) for _ in range(3)])
    with working(faulty, owner, handler, Pace(batch=4, lease=0.5, idle=60.0)) as work:
        until(lambda: begun, "the first task")
        # Away until all leases have run out, and another has all that it had.
        faulty.away = True
        until(lambda: store.reap().requeued or store.counts()["queued"] == 3, "the reaping")
        until(lambda: store.reap() and store.counts()["queued"] == 3, "the reaping of all")
        theirs = store.claim(Owner("two", "1"), ["x"], 3, 600.0)
        assert len(theirs) == 3
        faulty.away = False
        until(lambda: work.status()["lost"] == 2, "the loss of what was not begun")
        go.set()
        until(lambda: work.status()["lost"] == 3, "the loss of the other")
        assert work.status()["held"] == 0 and work.status()["done"] == 0
        assert sorted(store.complete([(c, "theirs") for c in theirs])) == sorted(ids)
    assert len(begun) == 1 and {store.result(i) for i in ids} == {"theirs"}


def test_what_a_handler_calls_hopeless_is_not_tried_again(store: TaskStore, owner: Owner) -> None:
    class Late(TaskHopeless):
        pass

    def handler(claim: Claim) -> None:
        raise (Late if claim.payload else ValueError)("too late")

    often = Retries(attempts=3, first=0.0)
    ids = store.enqueue([NewTask("x", hopeless, retries=often) for hopeless in (True, False)])
    with working(store, owner, handler, Pace(idle=0.1)):
        until(lambda: store.counts()["dead"] == 2, "the last attempts")
    tasks = [task for task in map(store.get, ids) if task is not None]
    assert [(task.attempts, task.error) for task in tasks] == [(1, "Late: too late"), (3, "ValueError: too late")]


def test_a_stop_while_the_store_is_away_ends_and_says_so(place: str, owner: Owner) -> None:
    store = SqlTaskStore(place)
    faulty, go = Faulty(store, False), threading.Event()
    (i,) = store.enqueue([NewTask("x")])
    with working(faulty, owner, lambda claim: go.wait(60), Pace(lease=5.0)) as work:
        until(lambda: work.status()["held"], "the claim")
        faulty.away = True
        assert work.stop(0.2) is False and work.status()["stopped"]
        go.set()
    assert store.get(i).state == "leased"  # type: ignore[union-attr]
    store.close()


def test_a_store_that_cannot_be_opened_is_tried_again(store: TaskStore, owner: Owner) -> None:
    tries = list[int]()

    def opened() -> TaskStore:
        tries.append(1)
        if len(tries) < 4:
            raise ConnectionError("not yet")
        return store

    (i,) = store.enqueue([NewTask("x", 1)])
    work = Work(opened, owner, {"x": lambda claim: claim.payload}, Pace(idle=0.1))
    assert work.status()["claimed"] == 0
    work.start()
    until(lambda: store.counts()["done"] == 1, "the work")
    assert work.stop(10.0) is True and store.result(i) == 1 and len(tries) == 4 and work.status()["outages"] == 3
