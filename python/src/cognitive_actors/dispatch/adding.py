"""How tasks come into the store: once for each id, key and node of a graph."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, select

from .errors import TaskError
from .rows import insert_new, parts
from .schema import edges, tasks
from .settling import settle
from .task import NewTask

#: Seconds between the times from which two tasks of one batch may be claimed, so that they keep their order. It takes
#: longer to add them. A choice.
_APART = 1e-6

#: Tasks with their payloads as JSON.
Checked = Sequence[tuple[NewTask, str]]


def add(connection: Connection, now: float, checked: Checked) -> list[str]:
    """Enqueue tasks that there are not yet. Returns the id of each: its own, or that of the one that was there before.

    Raises TaskError for a task that is to wait for one that is not known, or a graph under the key of another.
    """
    rows = [_row(task, payload, now + _APART * n) for n, (task, payload) in enumerate(checked)]
    # All in one order, so that of two that add the same keys or nodes one waits for the other, and not each for each.
    insert_new(
        connection, tasks, sorted(rows, key=lambda row: (row["key"] or "", row["graph"] or "", row["node"] or ""))
    )
    given = [task for task, _ in checked]
    ids = _ids(connection, given)
    _check_graphs(connection, given, ids)
    # A task that was there before keeps what it waits for.
    waiting = [task for task in given if task.after and ids[task.id] == task.id]
    wanted = [
        {"task": task.id, "needs": ids.get(needed, needed), "name": task.names.get(needed, needed)}
        for task in waiting
        for needed in task.after
    ]
    _hold(connection, {edge["needs"] for edge in wanted})
    insert_new(connection, edges, wanted)
    settle(connection, now, [task.id for task in waiting])
    return [ids[task.id] for task in given]


def _row(task: NewTask, payload: str, now: float) -> dict[str, Any]:
    return {
        "id": task.id,
        "kind": task.kind,
        "payload": payload,
        "key": task.key,
        "graph": task.graph,
        "node": task.node,
        "state": "waiting" if task.after else "queued",
        "priority": task.priority,
        "due": now + task.delay,
        "created": now,
        "on_failure": task.on_failure,
        "max_attempts": task.retries.attempts,
        "first": task.retries.first,
        "factor": task.retries.factor,
        "most": task.retries.most,
        "jitter": task.retries.jitter,
    }


def _ids(connection: Connection, given: Sequence[NewTask]) -> dict[str, str]:
    """The id that each task has in the store, by the one that it was given."""
    keys: dict[str, str] = {}
    for part in parts({task.key for task in given if task.key is not None}):
        found = connection.execute(select(tasks.c.key, tasks.c.id).where(tasks.c.key.in_(part)))
        keys |= {key: i for key, i in found}
    nodes: dict[tuple[str, str], str] = {}
    for graph in {task.graph for task in given if task.graph is not None}:
        found = connection.execute(select(tasks.c.node, tasks.c.id).where(tasks.c.graph == graph))
        nodes |= {(graph, node): i for node, i in found}
    ids = {}
    for task in given:
        by_key = keys.get(task.key) if task.key is not None else None
        by_node = nodes.get((task.graph, task.node)) if task.graph is not None and task.node is not None else None
        ids[task.id] = by_key or by_node or task.id
    return ids


def _check_graphs(connection: Connection, given: Sequence[NewTask], ids: dict[str, str]) -> None:
    for graph in {task.graph for task in given if task.graph is not None}:
        wanted = {(task.node, task.kind) for task in given if task.graph == graph}
        there = select(tasks.c.node, tasks.c.kind).where(tasks.c.graph == graph)
        differing = wanted ^ {(node, kind) for node, kind in connection.execute(there)}
        # All were added just now, or none.
        new = {(task.node, task.kind) for task in given if task.graph == graph and ids[task.id] == task.id}
        differing |= new if new != wanted else set()
        if differing:
            shown = ", ".join(sorted(repr(node) for node, _ in differing)[:5])
            raise TaskError(
                f"graph {graph!r} is there already, and has other nodes or kinds ({shown}); write another key for this"
                " one"
            )


def _hold(connection: Connection, needed: Iterable[str]) -> None:
    """Keep tasks from ending until this transaction has ended: whoever ends them then sees who waits for them."""
    for part in parts(sorted(needed)):
        statement = select(tasks.c.id).where(tasks.c.id.in_(part)).order_by(tasks.c.id).with_for_update(read=True)
        missing = set(part) - set(connection.scalars(statement))
        if missing:
            raise TaskError(
                f"there is no task {min(missing)!r} to wait for; enqueue it before, or together with what waits for it"
            )
