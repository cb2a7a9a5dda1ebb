"""An SQLite file for a whole cluster: one actor has it, and nothing is lost with that actor's process."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import ray
from dispatch_actors import answer, end_ledger, is_dead, kill, process_of
from waiting import until

from cognitive_actors.dispatch import (
    LedgerStore,
    NewTask,
    Owner,
    SqlTaskStore,
    Task,
    TaskError,
    TaskStore,
    TaskStoreError,
    TasksUnavailable,
    open_store,
)

pytestmark = pytest.mark.usefixtures("embedded_ray")


@pytest.fixture
def name() -> str:
    return f"ledger-{uuid.uuid4().hex}"


@pytest.fixture
def ledger(tmp_path: Path, name: str) -> Iterator[TaskStore]:
    store = open_store(tmp_path / "tasks.db", name=name)
    assert isinstance(store, LedgerStore)
    yield store
    end_ledger(store)


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
def enqueue_there(store: TaskStore, number: int) -> list[str]:
    return store.enqueue([NewTask("x", [number, k], key=f"key {k}") for k in range(20)])


def test_processes_that_enqueue_one_key_make_one_task(ledger: TaskStore) -> None:
    answers = answer([enqueue_there.remote(ledger, n) for n in range(4)])
    assert all(ids == answers[0] for ids in answers) and len(set(answers[0])) == 20
    assert ledger.counts()["queued"] == 20


def test_everything_goes_through_it(ledger: TaskStore, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = Owner("a", "1")
    i, dead, gone = ledger.enqueue([NewTask("x", 1), NewTask("x", 2), NewTask("x", 3)])
    claims = ledger.claim(owner, ["x"], 5, 600)
    assert ledger.extend(claims, 600) == [c.id for c in claims] and ledger.release(claims[2:]) == [gone]
    assert ledger.complete([(claims[0], "done")]) == [i] and ledger.result(i) == "done"
    assert ledger.fail([(claims[1], "wrong")]) == {dead: "queued"}
    assert ledger.cancel([gone, dead]) and ledger.revive([gone]) == [] and ledger.abandon(owner) == 0
    assert ledger.lead("r", "a", 600) and not ledger.lead("r", "b", 600)
    ledger.resign("r", "a")
    assert ledger.reap().requeued == 0 and ledger.results_of("g") == {} and len(ledger.find("cancelled")) == 2
    task = ledger.get(i)
    assert task is not None and task.state == "done" and ledger.forget(0) == 3
    # Its errors are those of the store.
    with pytest.raises(TaskError, match="there is no task 'nothing' to wait for"):
        ledger.enqueue([NewTask("x", after=("nothing",))])
    with pytest.raises(TaskError, match="is no JSON"):
        ledger.enqueue([NewTask("x", lambda: None)])
    monkeypatch.delenv("COGNITIVE_TASKS", raising=False)
    assert open_store(name=name).where == ledger.where
    with pytest.raises(ValueError, match="there is no ledger 'other' in namespace"):
        open_store(name="other")
    monkeypatch.setenv("COGNITIVE_TASKS", ledger.where)
    assert open_store(name=name).where == ledger.where
    with pytest.raises(TaskStoreError, match=r"keeps its tasks in .*tasks\.db, not in .*/elsewhere"):
        open_store("/tmp/elsewhere", name=name)


def test_nothing_is_lost_with_its_process(ledger: TaskStore) -> None:
    actor = ledger.ledger  # type: ignore[attr-defined]
    owner, ids = Owner("a", "1"), []
    with ThreadPoolExecutor(4) as threads:
        for turn in range(3):
            # While calls are on their way: Ray repeats those that were not answered.
            calls = [threads.submit(ledger.enqueue, [NewTask("x", [turn, n, k]) for k in range(50)]) for n in range(8)]
            pid = kill(actor)
            ids += [i for call in calls for i in call.result()]
            assert process_of(actor) != pid
    assert len(set(ids)) == 1200 and ledger.counts() == {**dict.fromkeys(ledger.counts(), 0), "queued": 1200}
    claims = ledger.claim(owner, ["x"], 700, 600, request="a")
    kill(actor)
    assert ledger.claim(owner, ["x"], 700, 600, request="a") == claims and len(claims) == 700
    kill(actor)
    assert len(ledger.complete([(c, c.payload) for c in claims])) == 700
    kill(actor)
    assert ledger.counts()["done"] == 700 and ledger.counts()["queued"] == 500
    assert all(ledger.result(c.id) == c.payload for c in claims[::100])


def test_one_that_was_ended_is_started_again_by_who_needs_it(ledger: TaskStore) -> None:
    (i,) = ledger.enqueue([NewTask("x", 1)])
    actor = ledger.ledger  # type: ignore[attr-defined]
    ray.kill(actor)
    until(lambda: is_dead(actor), "its end")

    def found() -> Task | None:
        try:
            return ledger.get(i)
        except TasksUnavailable:
            return None

    assert until(found, "another ledger").payload == 1
    assert ledger.ledger != actor and ledger.counts()["queued"] == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_change_whose_answer_was_lost_is_made_once(ledger: TaskStore, when: str) -> None:
    actor = ledger.ledger  # type: ignore[attr-defined]
    ledger.enqueue([NewTask("x", n) for n in range(3)])

    def die_at_next(self: object, when: str) -> None:
        store = self._store  # type: ignore[attr-defined]
        change = store._db.change

        def dying(work: object) -> None:
            if when == "after":
                change(work)
            os.kill(os.getpid(), signal.SIGKILL)

        store._db.change = dying

    owner = Owner("a", "1")
    answer(actor.__ray_call__.remote(die_at_next, when))
    claims = ledger.claim(owner, ["x"], 2, 600, request="r")
    assert [c.attempt for c in claims] == [1, 1] and ledger.counts()["leased"] == 2
    answer(actor.__ray_call__.remote(die_at_next, when))
    assert len(ledger.complete([(c, 1) for c in claims])) == 2
    assert [task.completions for task in ledger.find("done")] == [1, 1]
    answer(actor.__ray_call__.remote(die_at_next, when))
    assert len(ledger.enqueue([NewTask("x", n) for n in range(3)])) == 3 and ledger.counts()["queued"] == 4


def test_a_damaged_file_is_refused_and_the_next_may_have_the_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.db").write_text("dear diary")
    with pytest.raises(TaskStoreError, match=r"bad\.db is damaged or no SQLite database: .*; it was left as it is"):
        open_store(tmp_path / "bad.db", name=name)
    assert (tmp_path / "bad.db").read_text() == "dear diary"
    SqlTaskStore(tmp_path / "good.db").close()
    store = open_store(tmp_path / "good.db", name=name)
    assert store.counts()["queued"] == 0
    end_ledger(store)
