"""What becomes of tasks that wait for others, in the same transaction as what became of those."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, select

from .rows import locked, parts, update_rows
from .schema import edges, tasks


def settle(connection: Connection, now: float, ids: Iterable[str]) -> None:
    """Queue or cancel those of the tasks that wait for nothing any more, and what waits for the cancelled ones.

    Call it for what waits for a task whose state has changed. Others may end tasks at the same time: the lock on each
    waiting task makes one of them see what both have done.
    """
    following = set(ids)
    while following:
        waiting = {i: row for i, row in locked(connection, following).items() if row.state == "waiting"}
        unfinished, failed = _needs(connection, waiting)
        queued, cancelled = [], []
        for i, row in waiting.items():
            if i in failed and row.on_failure == "fail":
                cancelled.append({"number": row.number, **_cancelled(failed[i], now)})
            elif i not in unfinished:
                queued.append({"number": row.number, "state": "queued"})
        update_rows(connection, queued)
        update_rows(connection, cancelled)
        gone = {change["number"] for change in cancelled}
        following = set(dependents(connection, (i for i, row in waiting.items() if row.number in gone)))


def dependents(connection: Connection, ids: Iterable[str]) -> list[str]:
    """The tasks that need one of these."""
    found: list[str] = []
    for part in parts(ids):
        found += connection.scalars(select(edges.c.task).where(edges.c.needs.in_(part)).distinct())
    return found


def _cancelled(by: tuple[str, str], now: float) -> dict[str, object]:
    needed, state = by
    return {
        "state": "cancelled",
        "cancelled_by": needed,
        "finished": now,
        "error": f"the task {needed} that this one waits for is {state}",
    }


def _needs(connection: Connection, waiting: Collection[str]) -> tuple[set[str], dict[str, tuple[str, str]]]:
    """Tasks that need one that can still be done; and those that need one that failed, with its id and state."""
    unfinished: set[str] = set()
    failed: dict[str, tuple[str, str]] = {}
    for part in parts(waiting):
        statement = (
            select(edges.c.task, edges.c.needs, tasks.c.state)
            .join(tasks, tasks.c.id == edges.c.needs)
            .where(edges.c.task.in_(part), tasks.c.state != "done")
            .order_by(edges.c.task, edges.c.name)
        )
        for task, needed, state in connection.execute(statement):
            if state in ("dead", "cancelled"):
                failed.setdefault(task, (needed, state))
            else:
                unfinished.add(task)
    return unfinished, failed
