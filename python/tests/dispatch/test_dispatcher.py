"""Dispatchers on real Ray and both stores: they work, are killed, begin again, and stop without losing anything."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from dispatch_actors import HANDLERS, OFTEN, answer, end_ledger, ended, is_dead, kill, process_of, start
from postgres_server import PostgresServer, emptied
from waiting import until

from cognitive_actors.dispatch import (
    NewTask,
    Node,
    Owner,
    QueueDispatcher,
    Reaper,
    Retries,
    TaskStore,
    enqueue_graph,
    graph_state,
    open_store,
)
from cognitive_actors.dispatch.handlers import load_handlers
from cognitive_actors.dispatch.work import Pace

pytestmark = pytest.mark.usefixtures("embedded_ray")

QUICK = Pace(batch=8, idle=0.1, lease=30.0)


@pytest.fixture
def name() -> str:
    return f"ledger-{uuid.uuid4().hex}"


@pytest.fixture
def tasks(place: str, name: str) -> Iterator[TaskStore]:
    """A store that every process of the cluster reaches."""
    store = open_store(place, name=name)
    yield store
    end_ledger(store)
    store.close()


def dispatcher(place: str, name: str, pace: Pace = QUICK, **options: Any) -> Any:
    return start(QueueDispatcher, place, HANDLERS, pace, ledger=name, **options)


def all_final(store: TaskStore) -> bool:
    counts = store.counts()
    return not (counts["waiting"] or counts["queued"] or counts["leased"])


def test_it_works_and_says_what_it_did(tasks: TaskStore, place: str, name: str) -> None:
    ids = tasks.enqueue([NewTask("square", n) for n in range(50)])
    once = Retries(attempts=1)
    bad = tasks.enqueue([NewTask("fails", what, retries=once) for what in ("way", "exit", "result")])
    tasks.enqueue([NewTask("unknown")])
    actor = dispatcher(place, name, Pace(batch=8, concurrency=3, idle=0.1))
    with ended(actor):
        until(lambda: tasks.counts()["done"] == 50 and tasks.counts()["dead"] == 3, "the work")
        until(lambda: answer(actor.status.remote())["held"] == 0, "the end of the work")
        status = answer(actor.status.remote())
        assert status["made"] == {"tasks": tasks.where, "handlers": HANDLERS}
    assert [tasks.result(i) for i in ids] == [n**2 for n in range(50)]
    said = [tasks.get(i).error for i in bad]  # type: ignore[union-attr]
    assert said[:2] == ["RuntimeError: no way\\0", "SystemExit: 3"] and "the result is no JSON" in str(said[2])
    assert tasks.counts()["queued"] == 1
    assert {key: status[key] for key in ("claimed", "done", "failed", "lost", "outages", "held")} == {
        "claimed": 53, "done": 50, "failed": 3, "lost": 0, "outages": 0, "held": 0,
    }  # fmt: skip


def test_it_begins_again_when_it_is_killed_and_the_task_is_done_once(
    tasks: TaskStore, place: str, name: str, tmp_path: Path
) -> None:
    (i,) = tasks.enqueue([NewTask("waits_at_first", str(tmp_path), retries=OFTEN)])
    # A lease that does not run out in this test: the new process knows that the old one is dead.
    actor = dispatcher(place, name, Pace(lease=600.0, idle=0.1))
    with ended(actor):
        until((tmp_path / "begun").exists, "the first attempt")
        before = answer(actor.status.remote())
        pid = kill(actor)
        until(lambda: tasks.counts()["done"] == 1, "the second attempt")
        after = answer(actor.status.remote())
    assert process_lines(tmp_path / "begun")[0][1] == str(pid) and len(process_lines(tmp_path / "begun")) == 2
    assert after["name"] == before["name"] and after["incarnation"] != before["incarnation"]
    task = tasks.get(i)
    assert task is not None and (task.attempts, task.completions, tasks.result(i)) == (2, 1, 2)


def process_lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def test_a_long_task_keeps_its_lease(tasks: TaskStore, place: str, name: str, tmp_path: Path) -> None:
    (i,) = tasks.enqueue([NewTask("waits_at_first", str(tmp_path))])
    actor = dispatcher(place, name, Pace(lease=4.0, idle=0.1))
    reaper = start(Reaper, place, 0.1, 1.0, ledger=name)
    with ended(actor, reaper):
        until((tmp_path / "begun").exists, "the first attempt")
        # Several leases long, and reaped all the while.
        began = tasks.get(i)
        assert began is not None
        until(lambda: tasks.enqueue([NewTask("none")]) and age(tasks, began.created) > 16.0, "four leases")
        (tmp_path / "go").touch()
        until(lambda: tasks.counts()["done"] == 1, "the end")
    task = tasks.get(i)
    assert task is not None and (task.attempts, task.completions, task.claims) == (1, 1, 1)


def age(store: TaskStore, since: float) -> float:
    """Seconds since a time, by the clock of the store."""
    return max(task.created for task in store.find(limit=10_000)) - since


def test_it_gives_back_what_it_holds_when_it_stops(tasks: TaskStore, place: str, name: str, tmp_path: Path) -> None:
    first = tasks.enqueue([NewTask("waits_at_first", str(tmp_path), priority=1)])
    rest = tasks.enqueue([NewTask("square", n) for n in range(5)])
    actor = dispatcher(place, name, Pace(batch=4, lease=600.0, idle=0.1))
    with ended(actor):
        until((tmp_path / "begun").exists, "the first attempt")
        stopped = actor.stop.remote(60.0)
        # What was not begun is given back at once, and may be done by others.
        until(lambda: tasks.counts()["queued"] == 5, "what was not begun")
        (tmp_path / "go").touch()
        assert answer(stopped) is True
        status = answer(actor.status.remote())
    assert tasks.counts()["done"] == 1 and tasks.result(first[0]) == 1 and status["released"] == 3
    assert {tasks.get(i).attempts for i in rest} == {0}  # type: ignore[union-attr]


def test_what_takes_too_long_to_stop_is_given_back(tasks: TaskStore, place: str, name: str, tmp_path: Path) -> None:
    (i,) = tasks.enqueue([NewTask("waits_at_first", str(tmp_path))])
    actor = dispatcher(place, name, Pace(lease=600.0, idle=0.1))
    with ended(actor):
        until((tmp_path / "begun").exists, "the first attempt")
        assert answer(actor.stop.remote(0.0)) is True
        task = tasks.get(i)
        assert task is not None and (task.state, task.attempts) == ("queued", 0)


def test_it_runs_graphs(tasks: TaskStore, place: str, name: str) -> None:
    nodes = [
        Node("end", "gather", after=("left", "right")),
        Node("left", "gather", after=("start",)),
        Node("right", "gather", after=("start",)),
        Node("start", "gather"),
    ]
    actors = [dispatcher(place, name) for _ in range(2)]
    with ended(*actors):
        enqueue_graph(tasks, "g", nodes)
        until(lambda: graph_state(tasks, "g").state != "running", "the graph")
        state = graph_state(tasks, "g")
    assert state.state == "done"
    assert state.nodes["end"].result == {"node": "end", "before": {"left": "left", "right": "right"}}
    assert state.nodes["left"].result == {"node": "left", "before": {"start": "start"}}


def test_a_reaper_that_is_killed_is_followed_by_another(tasks: TaskStore, place: str, name: str) -> None:
    reapers = [start(Reaper, place, 0.1, 10.0, ledger=name) for _ in range(2)]

    def leading() -> list[Any]:
        return [r for r in reapers if answer(r.status.remote())["leading"]]

    with ended(*reapers):
        first = until(leading, "leadership")[0]
        other = next(r for r in reapers if r is not first)
        tasks.enqueue([NewTask("none", retries=OFTEN)])
        tasks.claim(Owner("a", "1"), ["none"], 1, 0.001)
        until(lambda: answer(first.status.remote())["requeued"] == 1, "the reaping")
        assert tasks.counts()["queued"] == 1 and answer(other.status.remote())["requeued"] == 0
        # For good, so that it is the other that follows, and not the same one again.
        ray.kill(first)
        until(lambda: is_dead(first), "the end of the first")
        until(lambda: tasks.claim(Owner("a", "1"), ["none"], 1, 0.001), "the pause after the first attempt")
        until(lambda: answer(other.status.remote())["requeued"] == 1, "the reaping by the other")
        assert answer(other.status.remote())["made"] == {"tasks": tasks.where, "forget": None}
        assert (
            answer(other.stop.remote()) is True
            and answer(other.status.remote())["stopping"]
            and tasks.lead("reaper", "next", 1.0)
        )


def has_done(store: TaskStore, count: int) -> bool:
    return store.counts()["done"] == count


def test_a_killed_reaper_and_ledger_go_on(tmp_path: Path, name: str) -> None:
    place = str(tmp_path / "tasks.db")
    tasks = open_store(place, name=name)
    reaper, actor = start(Reaper, place, 0.1, 1.0, ledger=name), dispatcher(place, name)
    with ended(reaper, actor):
        for turn in (1, 2):
            tasks.enqueue([NewTask("square", n) for n in range(30)])
            kill(tasks.ledger)  # type: ignore[attr-defined]
            pid = kill(reaper)
            until(partial(has_done, tasks, 30 * turn), "the work")
            assert process_of(reaper) != pid
            tasks.enqueue([NewTask("none", turn, retries=OFTEN)])
            until(lambda: tasks.claim(Owner("a", "1"), ["none"], 1, 0.001), "the claim")
            until(lambda: tasks.counts("none")["leased"] == 0, "the reaping")
    end_ledger(tasks)


def test_a_store_that_is_away_is_waited_for(postgres: PostgresServer, name: str) -> None:
    place = emptied(postgres)
    tasks = open_store(place)
    actor, reaper = dispatcher(place, name), start(Reaper, place, 0.1, 1.0)
    with ended(actor, reaper):
        ids = tasks.enqueue([NewTask("square", n) for n in range(20)])
        until(lambda: tasks.counts()["done"] == 20, "the work")
        postgres.stop()
        try:
            until(lambda: answer(actor.status.remote())["outages"] >= 2, "the outage")
            until(lambda: answer(reaper.status.remote())["outages"] >= 1, "the outage")
            assert "TasksUnavailable" in answer(actor.status.remote())["last_error"]
            pid = kill(actor)
            assert process_of(actor) != pid
        finally:
            postgres.start()
        ids += tasks.enqueue([NewTask("square", n) for n in range(20)])
        until(lambda: tasks.counts()["done"] == 40, "the work after it")
    assert [tasks.result(i) for i in ids] == 2 * [n**2 for n in range(20)]
    tasks.close()


@pytest.mark.parametrize(
    ("handlers", "said"),
    [
        ({"a": "task_handlers.square"}, "the handler of 'a' is 'task_handlers.square'; write 'module:function'"),
        ({"a": "task_handlers:nothing"}, "cannot be imported: AttributeError"),
        ({"a": "no_such_module:x"}, "cannot be imported: ModuleNotFoundError"),
        ({"a": "task_handlers:NUMBER"}, "is 7; write a function that is not async"),
        ({"a": "task_handlers:later"}, "write a function that is not async"),
        ({}, "handlers is {}; write {kind: 'module:function'}"),
    ],
)
def test_handlers_that_are_none_are_refused(handlers: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError) as refused:
        load_handlers(handlers)
    assert said in str(refused.value)


def test_an_actor_without_its_handlers_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ray.exceptions.RayActorError, match="cannot be imported: ModuleNotFoundError"):
        start(QueueDispatcher, str(tmp_path / "tasks.db"), {"a": "no_such_module:x"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": 0}, "batch is 0; write a whole number between 1 and 10000"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"lease": 0}, "lease is 0 s; write a finite number, more than 0"),
        ({"idle": float("inf")}, "idle is inf s"),
        ({"linger": 60.0}, "linger is 60.0 s; write 0 or more, and less than the lease"),
    ],
)
def test_a_pace_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Pace(**options)
