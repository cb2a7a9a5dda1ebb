"""Rows of the tables as the values of ``task.py``, and the statements that several changes share."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.schema import Table

from .schema import tasks
from .task import Claim, OnFailure, Owner, Retries, State, Task

#: Values in one statement. PostgreSQL takes 65,535, SQLite 32,766.
_PART = 1000

T = TypeVar("T")


def parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Values in lists that one statement can take."""
    given = list(values)
    for start in range(0, len(given), _PART):
        yield given[start : start + _PART]


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, leaving out those that a unique index has already."""
    made = sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
    for part in parts(rows):
        connection.execute(made.on_conflict_do_nothing(), part)


def update_rows(connection: Connection, changes: Sequence[dict[str, Any]]) -> None:
    """Change tasks, each by its ``number``; all with values for the same columns."""
    if changes:
        columns: dict[str, Any] = {name: bindparam(f"new_{name}") for name in changes[0] if name != "number"}
        statement = tasks.update().where(tasks.c.number == bindparam("of_number")).values(**columns)
        connection.execute(
            statement,
            [{"of_number" if k == "number" else f"new_{k}": x for k, x in change.items()} for change in changes],
        )


def locked(connection: Connection, ids: Iterable[str]) -> dict[str, Row[Any]]:
    """The tasks there are of some ids, in their order, which no other transaction changes until this one ends."""
    wanted, found = list(dict.fromkeys(ids)), dict[str, Row[Any]]()
    # All in one order, so that transactions seldom wait for each other in a circle.
    for part in parts(sorted(wanted)):
        statement = select(tasks).where(tasks.c.id.in_(part)).order_by(tasks.c.id).with_for_update()
        found |= {row.id: row for row in connection.execute(statement)}
    return {i: found[i] for i in wanted if i in found}


def held(connection: Connection, claims: Collection[Claim]) -> dict[str, Row[Any]]:
    """The tasks whose last claim is one of these, locked, whatever has become of them since."""
    rows = locked(connection, (claim.id for claim in claims))
    newest = sorted(claims, key=lambda claim: claim.token)
    tokens = {claim.id: (claim.token, claim.owner.name, claim.owner.incarnation) for claim in newest}
    return {i: row for i, row in rows.items() if (row.token, row.owner, row.incarnation) == tokens[i]}


def retries_of(row: Row[Any]) -> Retries:
    """How often the task of a row is tried."""
    return Retries(row.max_attempts, row.first, row.factor, row.most, row.jitter)


def task_of(row: Row[Any]) -> Task:
    """The task of a row."""
    return Task(
        id=row.id,
        kind=row.kind,
        payload=json.loads(row.payload),
        key=row.key,
        state=cast("State", row.state),
        priority=row.priority,
        retries=retries_of(row),
        attempts=row.attempts,
        claims=row.token,
        completions=row.completions,
        due=row.due,
        created=row.created,
        finished=row.finished,
        owner=None if row.owner is None else Owner(row.owner, row.incarnation),
        error=row.error,
        on_failure=cast("OnFailure", row.on_failure),
        graph=row.graph,
        node=row.node,
    )
