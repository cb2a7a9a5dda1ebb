"""The one implementation of a task store, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy import func, select

from . import adding, care, claims
from .database import Database
from .errors import TaskError
from .rows import task_of
from .schema import tasks
from .store import TaskStore
from .task import STATES, Claim, NewTask, Owner, Reaped, State, Task


class SqlTaskStore(TaskStore):
    """Tasks in a database that this process reaches by itself. Threads may share it.

    place, synchronous and errors: as of :class:`cognitive_actors.dispatch.database.Database`. An SQLite file may be
    used by several processes of one machine, and must not be on a network file system.
    """

    def __init__(self, place: str | Path, synchronous: str = "FULL") -> None:
        self._db = Database(place, synchronous)
        self.where = self._db.where

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self.where}: connections cannot be sent; give its place, and open it there")

    def abandon(self, owner: Owner) -> int:
        return self._db.change(lambda c: care.abandon(c, self._db.now(c), owner))

    def reap(self) -> Reaped:
        return self._db.change(lambda c: care.reap(c, self._db.now(c)))

    def revive(self, ids: Collection[str]) -> list[str]:
        return self._db.change(lambda c: care.revive(c, self._db.now(c), ids))

    def cancel(self, ids: Collection[str]) -> list[str]:
        return self._db.change(lambda c: care.cancel(c, self._db.now(c), ids))

    def get(self, task: str) -> Task | None:
        row = self._db.read(lambda c: c.execute(select(tasks).where(tasks.c.id == task)).one_or_none())
        return None if row is None else task_of(row)

    def result(self, task: str) -> Any:
        columns = select(tasks.c.state, tasks.c.result, tasks.c.error).where(tasks.c.id == task)
        row = self._db.read(lambda c: c.execute(columns).one_or_none())
        if row is None:
            raise TaskError(f"{self.where}: there is no task {task!r}; write an id that enqueue returned")
        if row.state != "done":
            error = "" if row.error is None else f": {row.error}"
            raise TaskError(f"task {task} has no result, it is {row.state}{error}")
        return json.loads(row.result)

    def counts(self, kind: str | None = None) -> dict[State, int]:
        statement = select(tasks.c.state, func.count()).group_by(tasks.c.state)
        if kind is not None:
            statement = statement.where(tasks.c.kind == kind)
        found = self._db.read(lambda c: c.execute(statement).all())
        numbers: dict[str, int] = {state: number for state, number in found}
        return {state: numbers.get(state, 0) for state in STATES}

    def results_of(self, graph: str) -> dict[str, Any]:
        columns = select(tasks.c.node, tasks.c.result).where(tasks.c.graph == graph, tasks.c.state == "done")
        rows = self._db.read(lambda c: c.execute(columns).all())
        return {node: json.loads(result) for node, result in rows}

    def forget(self, older_than: float, limit: int = 10_000) -> int:
        if not older_than >= 0 or limit < 1:
            raise TaskError(
                f"older_than is {older_than!r} and limit {limit!r}; write seconds, 0 or more, and 1 or more"
            )
        return self._db.change(lambda c: care.forget(c, self._db.now(c) - older_than, limit))

    def lead(self, role: str, owner: str, seconds: float) -> bool:
        return self._db.change(lambda c: care.lead(c, self._db.now(c), role, owner, seconds))

    def resign(self, role: str, owner: str) -> None:
        self._db.change(lambda c: care.resign(c, role, owner))

    def close(self) -> None:
        self._db.close()

    def _add(self, checked: list[tuple[NewTask, str]]) -> list[str]:
        return self._db.change(lambda c: adding.add(c, self._db.now(c), checked))

    def _claim(self, owner: Owner, kinds: list[str], limit: int, seconds: float, request: str | None) -> list[Claim]:
        named = request or secrets.token_hex(8)

        def work(connection: Any) -> list[Claim]:
            now = self._db.now(connection)
            return claims.claim(connection, now, owner, kinds, limit, now + seconds, named)

        return self._db.change(work)

    def _take(self, task: str, owner: Owner, seconds: float) -> Claim | None:
        def work(connection: Any) -> Claim | None:
            now = self._db.now(connection)
            return claims.take(connection, now, task, owner, now + seconds)

        return self._db.change(work)

    def _extend(self, held: list[Claim], seconds: float) -> list[str]:
        return self._db.change(lambda c: claims.extend(c, held, self._db.now(c) + seconds))

    def _record(self, results: list[tuple[Claim, str]]) -> list[str]:
        return self._db.change(lambda c: claims.record(c, self._db.now(c), results))

    def _fail(self, failures: list[tuple[Claim, str]], hopeless: bool) -> dict[str, State]:
        return self._db.change(lambda c: claims.fail(c, self._db.now(c), failures, hopeless))

    def _release(self, held: list[Claim]) -> list[str]:
        return self._db.change(lambda c: claims.release(c, held))

    def _find(self, state: State | None, kind: str | None, graph: str | None, limit: int, newest: bool) -> list[Task]:
        statement = select(tasks).order_by(tasks.c.number.desc() if newest else tasks.c.number).limit(limit)
        for column, wanted in ((tasks.c.state, state), (tasks.c.kind, kind), (tasks.c.graph, graph)):
            if wanted is not None:
                statement = statement.where(column == wanted)
        return [task_of(row) for row in self._db.read(lambda c: c.execute(statement).all())]
