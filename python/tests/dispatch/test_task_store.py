"""What a store of tasks does, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from waiting import until

from cognitive_actors.dispatch import Claim, NewTask, Owner, Reaped, Retries, SqlTaskStore, TaskError, TaskStore

#: A lease that ends at once, and one that does not end in a test.
SHORT, LONG = 0.001, 600.0
QUICK = Retries(attempts=3, first=0.0)


def claim(store: TaskStore, owner: Owner, limit: int = 10, lease: float = LONG, **options: Any) -> list[Claim]:
    return store.claim(owner, ["x"], limit, lease, **options)


def reaped(store: TaskStore) -> Reaped:
    """What is reaped first; a lease that was to end at once may take a moment."""

    def found() -> Reaped | None:
        reaped = store.reap()
        return None if reaped == Reaped() else reaped

    return until(found, "an end of a lease")


def test_a_task_is_claimed_worked_on_and_done(store: TaskStore, owner: Owner) -> None:
    (i,) = store.enqueue([NewTask("x", {"text": "ä\0\ud800", "list": [1, None, 2.5]})])
    (got,) = claim(store, owner)
    assert (got.id, got.payload, got.attempt, got.token) == (i, {"text": "ä\0\ud800", "list": [1, None, 2.5]}, 1, 1)
    task = store.get(i)
    assert task is not None and (task.state, task.attempts, task.owner) == ("leased", 1, owner)
    with pytest.raises(TaskError, match=f"task {i} has no result, it is leased"):
        store.result(i)
    assert claim(store, owner) == []
    assert store.complete([(got, {"answer": 42})]) == [i]
    task = store.get(i)
    assert task is not None and (task.state, task.completions) == ("done", 1) and store.result(i) == {"answer": 42}
    assert store.counts() == {"waiting": 0, "queued": 0, "leased": 0, "done": 1, "dead": 0, "cancelled": 0}
    assert store.counts("y")["done"] == 0 and store.get("nothing") is None
    with pytest.raises(TaskError, match="there is no task 'nothing'; write an id"):
        store.result("nothing")


def test_the_urgent_first_then_the_oldest_and_none_before_its_time(store: TaskStore, owner: Owner) -> None:
    ids = store.enqueue(
        [NewTask("x"), NewTask("y"), NewTask("x", priority=5), NewTask("x", priority=9, delay=3600), NewTask("x")]
    )
    assert [c.id for c in claim(store, owner, 2)] == [ids[2], ids[0]]
    assert [c.id for c in claim(store, owner)] == [ids[4]]
    assert store.counts("y")["queued"] == 1 and store.counts("x")["queued"] == 1
    assert [task.id for task in store.find("queued")] == [ids[1], ids[3]]


def test_a_key_is_of_one_task(store: TaskStore, owner: Owner) -> None:
    first = store.enqueue([NewTask("x", 1, key="a"), NewTask("x", 2), NewTask("x", 3, key="a")])
    assert first[0] == first[2] != first[1]
    assert store.enqueue([NewTask("x", 4, key="b"), NewTask("x", 5, key="a")])[1] == first[0]
    store.complete([(c, c.payload) for c in claim(store, owner)])
    assert store.enqueue([NewTask("x", 6, key="a")]) == [first[0]]
    assert store.result(first[0]) == 1 and store.counts()["done"] == 3 and store.counts()["queued"] == 0


def test_enqueueing_again_what_was_not_answered_adds_nothing(store: TaskStore, owner: Owner) -> None:
    a = NewTask("x", 1)
    b = NewTask("x", 2, after=(a.id,), key="b")
    assert store.enqueue([b, a]) == store.enqueue([b, a]) == [b.id, a.id]
    store.complete([(c, 10) for c in claim(store, owner)])
    (last,) = claim(store, owner)
    assert store.enqueue([b, a]) == [b.id, a.id]
    assert last.results == {a.id: 10} and store.counts() == {**dict.fromkeys(store.counts(), 0), "leased": 1, "done": 1}


def test_what_is_refused_adds_nothing(store: TaskStore, owner: Owner) -> None:
    for tasks, said in (
        ([NewTask("x"), NewTask("x", float("inf"))], "is no JSON"),
        ([NewTask("x"), NewTask("x", after=("nowhere",))], "there is no task 'nowhere' to wait for"),
    ):
        with pytest.raises(TaskError, match=said):
            store.enqueue(tasks)
    with pytest.raises(TaskError, match="no handler is known of this kind; write one of y"):
        store.enqueue([NewTask("x")], kinds=["y"])
    assert sum(store.counts().values()) == 0
    (i,) = store.enqueue([NewTask("x")])
    (held,) = claim(store, owner)
    with pytest.raises(TaskError, match=f"the result of task {i} is no JSON"):
        store.complete([(held, float("nan"))])
    assert store.counts()["leased"] == 1
    for arguments, said in (
        (([], 1, LONG), r"kinds is \[\]; write the kinds"),
        (("x", 1, LONG), "kinds is 'x'"),
        ((["x"], 0, LONG), "limit is 0"),
        ((["x"], 1, 0), "the lease is 0 s"),
        ((["x"], 1, float("nan")), "the lease is nan s"),
    ):
        with pytest.raises(TaskError, match=said):
            store.claim(owner, *arguments)


def test_a_lease_that_ran_out_is_given_to_another_and_the_first_is_not_heard(store: TaskStore, owner: Owner) -> None:
    (i,) = store.enqueue([NewTask("x", retries=QUICK)])
    (old,) = claim(store, owner, lease=SHORT)
    assert reaped(store) == Reaped(requeued=1)
    (new,) = claim(store, Owner("two", "1"))
    assert (new.id, new.attempt, new.token) == (i, 2, 2)
    assert store.complete([(old, "old")]) == [] and store.fail([(old, "old")]) == {} and store.release([old]) == []
    assert store.extend([old], LONG) == [] and store.extend([new], LONG) == [i]
    assert store.complete([(old, "old"), (new, "new"), (old, "old")]) == [i]
    assert store.result(i) == "new" and store.complete([(old, "old")]) == []
    # Even to the same owner: what counts is the claim.
    (j,) = store.enqueue([NewTask("x", retries=QUICK)])
    (old,) = claim(store, owner, lease=SHORT)
    reaped(store)
    (new,) = claim(store, owner)
    assert store.complete([(old, "old")]) == [] and store.complete([(new, "new")]) == [j]


def test_a_late_result_counts_while_nobody_else_has_the_task(store: TaskStore, owner: Owner) -> None:
    (i,) = store.enqueue([NewTask("x")])
    (held,) = claim(store, owner, lease=SHORT)
    time.sleep(0.01)
    assert store.complete([(held, 1)]) == [i] and store.reap() == Reaped()


def test_a_lease_that_is_extended_does_not_run_out(store: TaskStore, owner: Owner) -> None:
    kept, lost = store.enqueue([NewTask("x", retries=QUICK), NewTask("x", retries=QUICK)])
    first, second = claim(store, owner, lease=SHORT)
    assert store.extend([first], LONG) == [kept]
    assert reaped(store) == Reaped(requeued=1) and store.extend([first, second], LONG) == [kept]
    (again,) = claim(store, owner)
    assert again.id == lost


def test_an_attempt_counts_once_and_the_last_one_makes_a_dead_letter(store: TaskStore, owner: Owner) -> None:
    (i,) = store.enqueue([NewTask("x", retries=QUICK)])
    for attempt in (1, 2, 3):
        (held,) = claim(store, owner)
        assert held.attempt == attempt
        state = "queued" if attempt < 3 else "dead"
        # Said twice, because the first answer may have been lost.
        assert store.fail([(held, f"wrong {attempt}")]) == store.fail([(held, "again")]) == {i: state}
        task = store.get(i)
        assert task is not None and (task.state, task.attempts, task.error) == (state, attempt, f"wrong {attempt}")
    assert claim(store, owner) == [] and [task.id for task in store.find("dead")] == [i]
    with pytest.raises(TaskError, match=f"task {i} has no result, it is dead: wrong 3"):
        store.result(i)
    assert store.revive([i, "nothing"]) == [i] and store.revive([i]) == []
    (held,) = claim(store, owner)
    assert (held.attempt, held.token) == (1, 4) and store.complete([(held, "well")]) == [i]


def test_leases_that_run_out_end_in_a_dead_letter_as_well(store: TaskStore, owner: Owner) -> None:
    (i,) = store.enqueue([NewTask("x", retries=Retries(attempts=2, first=0))])
    claim(store, owner, lease=SHORT)
    assert reaped(store) == Reaped(requeued=1)
    claim(store, owner, lease=SHORT)
    assert reaped(store) == Reaped(dead=1)
    task = store.get(i)
    assert (
        task is not None
        and task.error == "the lease of one, incarnation 1, ran out in attempt 2: it died, hung or was cut off"
    )


def test_what_failed_waits_before_it_is_tried_again(store: TaskStore, owner: Owner) -> None:
    (i,) = store.enqueue([NewTask("x", retries=Retries(first=3600, most=7200, jitter=0))])
    store.fail([(held, "wrong") for held in claim(store, owner)])
    task = store.get(i)
    assert task is not None and 3500 < task.due - task.created < 3700 and claim(store, owner) == []


def test_what_is_released_has_not_been_tried(store: TaskStore, owner: Owner) -> None:
    (i,) = store.enqueue([NewTask("x", retries=Retries(attempts=1))])
    for _ in range(5):
        (held,) = claim(store, owner)
        assert held.attempt == 1
        assert store.release([held]) == [i] and store.release([held]) == []
        assert store.complete([(held, 1)]) == [] and store.get(i).state == "queued"  # type: ignore[union-attr]


def test_a_claim_that_comes_again_gets_the_same_tasks(store: TaskStore, owner: Owner) -> None:
    store.enqueue([NewTask("x", n) for n in range(5)])
    first = claim(store, owner, 2, request="a")
    assert claim(store, owner, 2, request="a") == first and len(first) == 2
    store.complete([(first[0], 1)])
    assert claim(store, owner, 2, request="a") == first[1:]
    assert len({c.id for c in first + claim(store, owner, 2, request="b")}) == 4
    assert [c.payload for c in claim(store, Owner("one", "2"), request="a")] == [4]


def test_one_task_is_taken_by_its_id(store: TaskStore, owner: Owner) -> None:
    first, i = store.enqueue([NewTask("x", 1, priority=9), NewTask("y", 2, retries=QUICK)])
    got = store.take(i, owner, LONG)
    assert got is not None and (got.id, got.payload, got.attempt, got.token, got.kind) == (i, 2, 1, 1, "y")
    # Said again, because the first answer may have been lost.
    assert store.take(i, owner, LONG) == got and store.get(i).attempts == 1  # type: ignore[union-attr]
    for other in (Owner("one", "2"), Owner("two", "1")):
        assert store.take(i, other, LONG) is None
    assert [c.id for c in claim(store, owner)] == [first] and store.extend([got], LONG) == [i]
    assert store.release([got]) == [i]
    again = store.take(i, Owner("two", "1"), LONG)
    assert again is not None and (again.attempt, again.token) == (1, 2)
    assert store.complete([(got, "old")]) == [] and store.complete([(again, "new")]) == [i]
    assert store.take(i, Owner("two", "1"), LONG) is None and store.result(i) == "new"


def test_nothing_is_taken_but_what_is_queued_and_due(store: TaskStore, owner: Owner) -> None:
    needed = NewTask("x", 1)
    later, waiting, gone = NewTask("x", delay=3600), NewTask("x", 2, after=(needed.id,)), NewTask("x")
    store.enqueue([needed, later, waiting, gone])
    store.cancel([gone.id])
    assert [store.take(i, owner, LONG) for i in (later.id, waiting.id, gone.id, "nothing")] == [None] * 4
    (held,) = [store.take(needed.id, owner, LONG)]
    assert held is not None and store.complete([(held, "well")]) == [needed.id]
    got = store.take(waiting.id, owner, LONG)
    assert got is not None and got.results == {needed.id: "well"}
    for arguments, said in (
        (("", owner, LONG), "the id of a task is ''"),
        ((later.id, Owner("", "1"), LONG), "name of the owner is ''"),
        ((later.id, owner, 0), "the lease is 0 s"),
    ):
        with pytest.raises(TaskError, match=said):
            store.take(*arguments)


def test_who_took_a_task_and_never_returns_loses_it(store: TaskStore, owner: Owner) -> None:
    (i,) = store.enqueue([NewTask("x", retries=QUICK)])
    old = store.take(i, owner, SHORT)
    assert old is not None and reaped(store) == Reaped(requeued=1)
    new = store.take(i, Owner("two", "1"), LONG)
    assert new is not None and (new.attempt, new.token) == (2, 2) and store.take(i, owner, LONG) is None
    assert store.complete([(old, "old")]) == [] and store.complete([(new, "new")]) == [i]


def test_threads_that_take_one_task_get_it_once(place: str) -> None:
    stores = [SqlTaskStore(place) for _ in range(2)]
    ids = stores[0].enqueue([NewTask("x", n) for n in range(20)])
    barrier = threading.Barrier(4)

    def take(n: int) -> list[bool]:
        barrier.wait()
        return [stores[n % 2].take(i, Owner("one", str(n)), LONG) is not None for i in ids]

    with ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(take, range(4)))
    assert [sum(column) for column in zip(*taken, strict=True)] == [1] * 20
    for store in stores:
        store.close()


def test_what_is_hopeless_is_a_dead_letter_at_once(store: TaskStore, owner: Owner) -> None:
    a, b = NewTask("x"), NewTask("x")
    store.enqueue([a, b, NewTask("x", after=(a.id,))])
    one, other = claim(store, owner)
    assert store.fail([(one, "never")], hopeless=True) == store.fail([(one, "again")], hopeless=True) == {a.id: "dead"}
    assert store.fail([(other, "perhaps")]) == {b.id: "queued"}
    task = store.get(a.id)
    assert task is not None and (task.state, task.attempts, task.error) == ("dead", 1, "never")
    assert store.counts()["cancelled"] == 1


def test_the_newest_or_the_oldest_are_found_first(store: TaskStore) -> None:
    ids = store.enqueue([NewTask("x", n) for n in range(5)])
    assert [task.id for task in store.find(limit=2)] == ids[:2]
    assert [task.id for task in store.find("queued", "x", limit=2, newest=True)] == ids[:2:-1]


def test_a_new_incarnation_ends_the_attempts_of_the_last(store: TaskStore, owner: Owner) -> None:
    store.enqueue([NewTask("x", n, retries=QUICK) for n in range(3)])
    held, other = claim(store, owner, 2), claim(store, Owner("two", "1"))
    assert store.abandon(Owner("one", "1")) == 0 and store.abandon(Owner("one", "2")) == 2
    again = claim(store, Owner("one", "2"))
    assert {c.id for c in again} == {c.id for c in held} and {c.attempt for c in again} == {2}
    assert store.complete([(c, 1) for c in other + held]) == [other[0].id]


def test_what_is_cancelled_is_not_done(store: TaskStore, owner: Owner) -> None:
    running, queued, done = store.enqueue([NewTask("x", priority=1), NewTask("x"), NewTask("x", priority=2)])
    for held in claim(store, owner, 2):
        if held.id == done:
            store.complete([(held, 1)])
        else:
            mine = held
    assert sorted(store.cancel([running, queued, done, "nothing"])) == sorted([running, queued])
    assert sorted(store.cancel([running, queued])) == sorted([running, queued])
    assert store.complete([(mine, 1)]) == [] and claim(store, owner) == []


def test_old_tasks_are_forgotten_unless_they_are_needed(store: TaskStore, owner: Owner) -> None:
    a, b = NewTask("x", key="a"), NewTask("x", retries=Retries(attempts=1))
    c = NewTask("x", after=(a.id,), delay=3600)
    store.enqueue([a, b, c])
    for held in claim(store, owner):
        if held.id == a.id:
            store.complete([(held, 1)])
        else:
            store.fail([(held, "wrong")])
    assert store.forget(3600) == 0 and store.forget(0) == 0
    store.cancel([c.id])
    assert store.forget(0) == 1 and store.forget(0) == 1 and store.forget(0) == 0
    assert [task.id for task in store.find()] == [b.id] and store.enqueue([NewTask("x", key="a")]) != [a.id]


def test_one_leads_until_its_time_is_over_or_it_resigns(store: TaskStore) -> None:
    assert store.lead("r", "a", LONG) and not store.lead("r", "b", LONG) and store.lead("r", "a", SHORT)
    assert store.lead("other", "b", LONG)
    until(lambda: store.lead("r", "b", LONG), "the end of the other's time")
    store.resign("r", "a")
    assert not store.lead("r", "a", LONG)
    store.resign("r", "b")
    assert store.lead("r", "a", LONG)


def test_threads_that_enqueue_one_key_make_one_task(place: str) -> None:
    stores = [SqlTaskStore(place) for _ in range(4)]
    barrier = threading.Barrier(8)

    def enqueue(n: int) -> dict[str | None, str]:
        # In the order of their keys and in the reverse one: who waits for whom must not become a circle.
        tasks = [NewTask("x", n, key=f"key {k}") for k in range(50)][:: 1 - 2 * (n % 2)]
        barrier.wait()
        return dict(zip((task.key for task in tasks), stores[n % 4].enqueue(tasks), strict=True))

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(enqueue, range(8)))
    assert all(answer == answers[0] for answer in answers) and len(set(answers[0].values())) == 50
    assert stores[0].counts()["queued"] == 50
    for store in stores:
        store.close()


def test_claimers_never_get_the_same_task(place: str) -> None:
    stores = [SqlTaskStore(place) for _ in range(4)]
    stores[0].enqueue([NewTask("x", n) for n in range(400)])
    barrier = threading.Barrier(8)

    def work(n: int) -> list[str]:
        barrier.wait()
        got: list[str] = []
        while claims := stores[n % 4].claim(Owner(f"w{n}", "1"), ["x"], 7, LONG):
            got += [c.id for c in claims]
            assert len(stores[n % 4].complete([(c, c.payload) for c in claims])) == len(claims)
        return got

    with ThreadPoolExecutor(8) as threads:
        got = Counter(i for ids in threads.map(work, range(8)) for i in ids)
    assert len(got) == 400 and set(got.values()) == {1} and stores[0].counts()["done"] == 400
    assert {task.attempts for task in stores[0].find(limit=400)} == {1}
    for store in stores:
        store.close()


def test_two_that_end_what_a_task_waits_for_at_the_same_time_wake_it(place: str) -> None:
    stores, owners = [SqlTaskStore(place) for _ in range(2)], [Owner("a", "1"), Owner("b", "1")]
    barrier = threading.Barrier(2)

    def end(n: int, claims: list[Claim]) -> None:
        for c in claims:
            barrier.wait()
            stores[n].complete([(c, n)])

    for _ in range(2):
        pairs = [(NewTask("x", 1, priority=1), NewTask("x", 2)) for _ in range(20)]
        last = [NewTask("y", after=(a.id, b.id)) for a, b in pairs]
        stores[0].enqueue([task for pair in pairs for task in pair] + last)
        claims = [stores[n].claim(owners[n], ["x"], 20, LONG) for n in range(2)]
        by_id = [{c.id: c for c in got} for got in claims]
        ordered = [[by_id[n][pair[n].id] for pair in pairs] for n in range(2)]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(end, range(2), ordered))
        assert len(stores[0].claim(owners[0], ["y"], 100, LONG)) == 20
    for store in stores:
        store.close()


def test_one_that_ends_while_another_is_told_to_wait_for_it_wakes_it(place: str) -> None:
    stores, owner = [SqlTaskStore(place) for _ in range(2)], Owner("a", "1")
    barrier = threading.Barrier(2)
    stores[0].enqueue([NewTask("x") for _ in range(40)])
    claims = stores[0].claim(owner, ["x"], 40, LONG)

    def end() -> None:
        for c in claims:
            barrier.wait()
            stores[0].complete([(c, 1)])

    def follow() -> None:
        for c in claims:
            barrier.wait()
            stores[1].enqueue([NewTask("y", after=(c.id,))])

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(end), threads.submit(follow)]:
            future.result()
    followers = stores[0].claim(owner, ["y"], 100, LONG)
    assert len(followers) == 40 and all(list(c.results.values()) == [1] for c in followers)
    for store in stores:
        store.close()
