"""Graphs of tasks: nodes that wait for others and get their results. They run as all tasks do, on the dispatchers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any, Literal

from .content import check_text
from .cycles import find_cycle
from .errors import TaskError
from .store import MOST, TaskStore
from .task import FINAL, NewTask, OnFailure, Retries, State


@dataclass(frozen=True)
class Node:
    """A task of a graph. name: of its own in the graph; after: names of the nodes whose results it gets, as
    ``claim.results``; on_failure: that of the graph, if left out; the others as of NewTask."""

    name: str
    kind: str
    payload: Any = None
    after: tuple[str, ...] = ()
    priority: int = 0
    delay: float = 0.0
    retries: Retries = field(default_factory=Retries)
    on_failure: OnFailure | None = None


@dataclass(frozen=True)
class NodeState:
    """What has become of a node. id: of its task; error: of its last failed attempt, or why it was cancelled."""

    id: str
    state: State
    attempts: int
    result: Any
    error: str | None


@dataclass(frozen=True)
class GraphState:
    """What has become of a graph: running, done with all its nodes, or failed, with some dead or cancelled."""

    key: str
    state: Literal["running", "done", "failed"]
    nodes: dict[str, NodeState]


def check_graph(nodes: Sequence[Node]) -> list[Node]:
    """The nodes in an order in which they can run.

    Raises TaskError, naming them, for nodes of one name, nodes that are not there, and nodes that wait for each other.
    """
    if not 1 <= len(nodes) <= MOST:
        raise TaskError(f"a graph of {len(nodes)} nodes; write 1 to {MOST}")
    for node in nodes:
        check_text(node.name, "the name of a node")
        if isinstance(node.after, str):
            raise TaskError(f"node {node.name!r}: after is a text; write a tuple of names")
    twice = [name for name, count in Counter(node.name for node in nodes).items() if count > 1]
    if twice:
        raise TaskError(f"{twice[0]!r} is the name of several nodes; write another name for each")
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        unknown = [name for name in node.after if name not in by_name]
        if unknown:
            raise TaskError(
                f"node {node.name!r} is after {unknown[0]!r}, which is no node; write that node, or leave it"
            )
    after = {node.name: node.after for node in nodes}
    cycle = find_cycle(after)
    if cycle:
        raise TaskError(f"nodes wait for each other: {' after '.join(map(repr, cycle))}; leave one of these out")
    return [by_name[name] for name in TopologicalSorter(after).static_order()]


def enqueue_graph(
    store: TaskStore,
    key: str,
    nodes: Sequence[Node],
    on_failure: OnFailure = "fail",
    kinds: Collection[str] | None = None,
) -> dict[str, str]:
    """Enqueue all nodes of a graph, or none, and return the id of each node's task, by name.

    key: of the graph; where there is one of it already, its ids are returned and nothing is added. on_failure: "fail"
    cancels what waits for a node that is dead or cancelled, "skip" lets it run without that node's result. kinds: those
    that are known; any, if left out. Raises TaskError for what :func:`check_graph` refuses, for a node that cannot be
    enqueued, and for the key of a graph of other nodes.
    """
    check_text(key, "the key of a graph")
    ordered = check_graph(nodes)
    ids: dict[str, str] = {}
    tasks = []
    for node in ordered:
        task = NewTask(
            kind=node.kind,
            payload=node.payload,
            priority=node.priority,
            delay=node.delay,
            retries=node.retries,
            after=tuple(ids[name] for name in node.after),
            on_failure=node.on_failure or on_failure,
            graph=key,
            node=node.name,
            names={ids[name]: name for name in node.after},
        )
        ids[node.name] = task.id
        tasks.append(task)
    given = store.enqueue(tasks, kinds)
    return {node.name: i for node, i in zip(ordered, given, strict=True)}


def graph_state(store: TaskStore, key: str) -> GraphState:
    """What has become of a graph and of each of its nodes. Raises TaskError where there is none of this key."""
    # In this order: what is done in the first answer has its result in the second.
    tasks = store.find(graph=key, limit=MOST)
    results = store.results_of(key)
    if not tasks:
        raise TaskError(f"{store.where}: there is no graph {key!r}; write the key that it was enqueued under")
    nodes = {
        str(task.node): NodeState(
            id=task.id,
            state=task.state,
            attempts=task.attempts,
            result=results.get(str(task.node)) if task.state == "done" else None,
            error=None if task.state == "done" else task.error,
        )
        for task in tasks
    }
    states = {node.state for node in nodes.values()}
    if states <= {"done"}:
        return GraphState(key, "done", nodes)
    return GraphState(key, "failed" if states <= set(FINAL) else "running", nodes)
