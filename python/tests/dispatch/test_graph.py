"""Graphs of tasks on both stores: order, results, and what becomes of the rest when a node fails."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import until

from cognitive_actors.dispatch import (
    Claim,
    Node,
    Owner,
    Retries,
    SqlTaskStore,
    TaskError,
    TaskStore,
    enqueue_graph,
    graph_state,
)

ONCE = Retries(attempts=1)
DIAMOND = [
    Node("end", "x", after=("left", "right"), retries=ONCE),
    Node("left", "x", after=("start",), retries=ONCE),
    Node("right", "x", after=("start",), retries=ONCE),
    Node("start", "x", {"n": 1}, retries=ONCE),
]


def run(store: TaskStore, owner: Owner, handler: Callable[[Claim], Any], limit: int = 10) -> list[str | None]:
    """Work until nothing is queued; the nodes in the order in which they were worked on."""
    order: list[str | None] = []
    while claims := store.claim(owner, ["x"], limit, 600.0):
        for claim in claims:
            order.append(claim.node)
            try:
                store.complete([(claim, handler(claim))])
            except RuntimeError as error:
                store.fail([(claim, str(error))])
    return order


def failing(*nodes: str) -> Callable[[Claim], Any]:
    def handler(claim: Claim) -> Any:
        if claim.node in nodes:
            raise RuntimeError("no")
        return {"got": claim.results}

    return handler


def states(store: TaskStore, key: str) -> dict[str, str]:
    return {name: node.state for name, node in graph_state(store, key).nodes.items()}


def test_nodes_run_in_order_and_get_the_results_of_those_before(store: TaskStore, owner: Owner) -> None:
    ids = enqueue_graph(store, "g", DIAMOND)
    assert states(store, "g") == {"start": "queued", "left": "waiting", "right": "waiting", "end": "waiting"}
    order = run(store, owner, lambda c: {"me": c.node, "got": sorted(c.results), "start": c.results.get("start")})
    assert order[0] == "start" and sorted(map(str, order[1:3])) == ["left", "right"] and order[3] == "end"
    state = graph_state(store, "g")
    assert state.state == "done" and state.nodes["end"].result["got"] == ["left", "right"]
    assert state.nodes["left"].result["start"] == {"me": "start", "got": [], "start": None}
    assert {name: node.id for name, node in state.nodes.items()} == ids
    with pytest.raises(TaskError, match="there is no graph 'h'; write the key"):
        graph_state(store, "h")


def test_a_graph_is_enqueued_once(store: TaskStore, owner: Owner) -> None:
    ids = enqueue_graph(store, "g", DIAMOND)
    run(store, owner, failing())
    assert enqueue_graph(store, "g", list(reversed(DIAMOND))) == ids and store.counts()["done"] == 4
    for other in ([Node("left", "x")], [*DIAMOND, Node("more", "x")], [*DIAMOND[:3], Node("start", "y")]):
        with pytest.raises(TaskError, match="graph 'g' is there already, and has other nodes or kinds"):
            enqueue_graph(store, "g", other)
    assert sum(store.counts().values()) == 4
    assert set(enqueue_graph(store, "h", DIAMOND).values()).isdisjoint(ids.values())


def test_one_that_fails_cancels_what_waits_for_it(store: TaskStore, owner: Owner) -> None:
    nodes = [*DIAMOND, Node("last", "x", after=("end",)), Node("apart", "x", after=("start",))]
    ids = enqueue_graph(store, "g", nodes)
    run(store, owner, failing("left"))
    expected = {
        "start": "done",
        "left": "dead",
        "right": "done",
        "end": "cancelled",
        "last": "cancelled",
        "apart": "done",
    }
    state = graph_state(store, "g")
    assert state.state == "failed" and states(store, "g") == expected
    assert state.nodes["end"].error == f"the task {ids['left']} that this one waits for is dead"
    assert state.nodes["last"].error == f"the task {ids['end']} that this one waits for is cancelled"
    # A dead letter that is revived brings back what was cancelled because of it.
    assert store.revive([ids["left"]]) == [ids["left"]]
    assert states(store, "g") == {**expected, "left": "queued", "end": "waiting", "last": "waiting"}
    run(store, owner, failing())
    assert graph_state(store, "g").state == "done"
    assert sorted(graph_state(store, "g").nodes["end"].result["got"]) == ["left", "right"]


def test_or_is_skipped(store: TaskStore, owner: Owner) -> None:
    enqueue_graph(store, "g", DIAMOND, on_failure="skip")
    run(store, owner, failing("left"))
    state = graph_state(store, "g")
    assert states(store, "g") == {"start": "done", "left": "dead", "right": "done", "end": "done"}
    assert state.state == "failed" and sorted(state.nodes["end"].result["got"]) == ["right"]


def test_a_node_may_have_its_own_policy(store: TaskStore, owner: Owner) -> None:
    a, b = Node("a", "x", retries=ONCE), Node("b", "x", after=("a",), retries=ONCE, on_failure="skip")
    enqueue_graph(store, "g", [a, b, Node("c", "x", after=("b",))])
    enqueue_graph(store, "h", [a, b, Node("c", "x", after=("b",))])
    run(store, owner, lambda claim: failing("a" if claim.graph == "g" else "b")(claim))
    assert states(store, "g") == {"a": "dead", "b": "done", "c": "done"}
    assert states(store, "h") == {"a": "done", "b": "dead", "c": "cancelled"}


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_lease_that_runs_out_for_the_last_time_is_a_failure(store: TaskStore, owner: Owner, policy: Any) -> None:
    enqueue_graph(store, "g", DIAMOND, on_failure=policy)
    store.claim(owner, ["x"], 1, 1e-6)
    until(lambda: store.reap().dead, "the end of the lease")
    expected = dict.fromkeys(("left", "right", "end"), "cancelled")
    if policy == "skip":
        expected = {"left": "queued", "right": "queued", "end": "waiting"}
    assert states(store, "g") == {"start": "dead", **expected}


def test_a_node_that_is_cancelled_takes_its_followers_along(store: TaskStore) -> None:
    ids = enqueue_graph(store, "g", DIAMOND)
    assert store.cancel([ids["right"]]) == [ids["right"]]
    assert states(store, "g") == {"start": "queued", "left": "waiting", "right": "cancelled", "end": "cancelled"}


def test_a_finished_graph_is_forgotten_whole(store: TaskStore, owner: Owner) -> None:
    enqueue_graph(store, "g", DIAMOND)
    run(store, owner, failing(), limit=1)
    enqueue_graph(store, "dead", DIAMOND)
    run(store, owner, failing("end"))
    assert store.forget(0) == 4 and store.forget(0) == 0
    assert sorted(states(store, "dead")) == ["end", "left", "right", "start"]


def test_threads_that_enqueue_one_graph_make_one(place: str) -> None:
    stores = [SqlTaskStore(place) for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: enqueue_graph(stores[n % 4], "g", DIAMOND[:: 1 - 2 * (n % 2)]), range(8)))
    assert all(answer == answers[0] for answer in answers) and sum(stores[0].counts().values()) == 4
    for store in stores:
        store.close()


graphs = st.lists(st.lists(st.integers(0, 8), max_size=3), min_size=1, max_size=9).map(
    lambda needs: [
        Node(f"n{i}", "x", after=tuple(f"n{j}" for j in sorted(set(before)) if j < i), retries=ONCE)
        for i, before in enumerate(needs)
    ]
)


@given(graphs, st.sets(st.integers(0, 8), max_size=3), st.sampled_from(["fail", "skip"]), st.integers(1, 4))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_graph_ends_as_its_policy_says(
    store: TaskStore, owner: Owner, nodes: list[Node], failures: set[int], policy: Any, limit: int
) -> None:
    number = sum(store.counts().values())
    key = f"g{number}"
    enqueue_graph(store, key, nodes, policy)
    run(store, owner, failing(*(f"n{i}" for i in failures)), limit)
    expected: dict[str, str] = {}
    for i, node in enumerate(nodes):
        stopped = policy == "fail" and any(expected[name] != "done" for name in node.after)
        expected[node.name] = "cancelled" if stopped else "dead" if i in failures else "done"
    state = graph_state(store, key)
    assert states(store, key) == expected
    for node in nodes:
        if expected[node.name] == "done":
            done = {name for name in node.after if expected[name] == "done"}
            assert set(state.nodes[node.name].result["got"]) == done
