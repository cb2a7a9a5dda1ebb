"""How tasks are given to owners, and come back from them: each change is heard under the newest claim alone."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from .content import printable_error
from .rows import held, locked, parts, retries_of, update_rows
from .schema import edges, tasks
from .settling import dependents, settle
from .task import Claim, Owner, State, pause


def claim(
    connection: Connection, now: float, owner: Owner, kinds: Collection[str], limit: int, until: float, request: str
) -> list[Claim]:
    """Lease tasks that are due, the most urgent first. A request that comes again gets what it got before."""
    rows, new = _given_before(connection, owner, request), 1
    if not rows:
        statement = (
            select(tasks)
            .where(tasks.c.state == "queued", tasks.c.due <= now, tasks.c.kind.in_(sorted(kinds)))
            .order_by(tasks.c.priority.desc(), tasks.c.due, tasks.c.number)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = list(connection.execute(statement))
        _lease(connection, rows, owner, request, until)
    else:
        extend(connection, [_claim(row, owner, 0, {}) for row in rows], until)
        new = 0
    results = _results(connection, [row.id for row in rows])
    return [_claim(row, owner, new, results.get(row.id, {})) for row in rows]


def take(connection: Connection, now: float, task: str, owner: Owner, until: float) -> Claim | None:
    """Lease one task if it is queued and due. An incarnation that has it already gets the same claim again."""
    row, new = locked(connection, [task]).get(task), 1
    if row is None:
        return None
    if row.state == "leased" and (row.owner, row.incarnation) == (owner.name, owner.incarnation):
        extend(connection, [_claim(row, owner, 0, {})], until)
        new = 0
    elif row.state == "queued" and row.due <= now:
        _lease(connection, [row], owner, None, until)
    else:
        return None
    return _claim(row, owner, new, _results(connection, [row.id]).get(row.id, {}))


def extend(connection: Connection, claims: Collection[Claim], until: float) -> list[str]:
    """Make leases end later. Returns the ids of those still held."""
    rows = {i: row for i, row in held(connection, claims).items() if row.state == "leased"}
    for part in parts(row.number for row in rows.values()):
        connection.execute(tasks.update().where(tasks.c.number.in_(part)).values(lease_until=until))
    return list(rows)


def record(connection: Connection, now: float, results: Sequence[tuple[Claim, str]]) -> list[str]:
    """Record results, as JSON. Returns the ids of those that are recorded, now or by the same claim before."""
    rows = held(connection, [claim for claim, _ in results])
    texts = {claim.id: text for claim, text in sorted(results, key=_token)}
    done = [
        {
            "number": row.number,
            "state": "done",
            "result": texts[i],
            "finished": now,
            "completions": row.completions + 1,
            "error": None,
        }
        for i, row in rows.items()
        if row.state == "leased"
    ]
    update_rows(connection, done)
    settle(connection, now, dependents(connection, (i for i, row in rows.items() if row.state == "leased")))
    return [i for i, row in rows.items() if row.state in ("leased", "done")]


def fail(connection: Connection, now: float, failures: Sequence[tuple[Claim, str]], hopeless: bool) -> dict[str, State]:
    """End attempts that failed. Returns what each task is now, of those that are heard; when repeated, the same."""
    errors = {claim.id: error for claim, error in sorted(failures, key=_token)}
    rows = held(connection, [claim for claim, _ in failures])
    states: dict[str, State] = {i: row.state for i, row in rows.items() if row.state in ("queued", "dead")}
    ended = [(row, errors[i]) for i, row in rows.items() if row.state == "leased"]
    return states | end_attempts(connection, now, ended, hopeless)


def end_attempts(
    connection: Connection, now: float, ended: Sequence[tuple[Row[Any], str]], hopeless: bool = False
) -> dict[str, State]:
    """Queue tasks again whose attempt has failed, after a pause, or make them dead letters after the last one.

    hopeless: this was the last one, whatever number of them there may be.
    """
    again, dead, states = [], [], dict[str, State]()
    for row, error in ended:
        said = printable_error(error)
        if row.attempts < row.max_attempts and not hopeless:
            due = now + pause(retries_of(row), row.attempts, random.random())
            again.append({"number": row.number, "state": "queued", "due": due, "error": said})
            states[row.id] = "queued"
        else:
            dead.append({"number": row.number, "state": "dead", "finished": now, "error": said})
            states[row.id] = "dead"
    update_rows(connection, again)
    update_rows(connection, dead)
    settle(connection, now, dependents(connection, (i for i, state in states.items() if state == "dead")))
    return states


def release(connection: Connection, claims: Collection[Claim]) -> list[str]:
    """Queue tasks again as if they had not been claimed, but for the token. Returns the ids of those that were held."""
    rows = {i: row for i, row in held(connection, claims).items() if row.state == "leased"}
    for part in parts(row.number for row in rows.values()):
        given_back = tasks.update().where(tasks.c.number.in_(part))
        connection.execute(given_back.values(state="queued", attempts=tasks.c.attempts - 1))
    return list(rows)


def _lease(connection: Connection, rows: Sequence[Row[Any]], owner: Owner, request: str | None, until: float) -> None:
    for part in parts(row.number for row in rows):
        connection.execute(
            tasks.update()
            .where(tasks.c.number.in_(part))
            .values(
                state="leased",
                token=tasks.c.token + 1,
                attempts=tasks.c.attempts + 1,
                owner=owner.name,
                incarnation=owner.incarnation,
                request=request,
                lease_until=until,
            )
        )


def _token(said: tuple[Claim, str]) -> int:
    """Of several claims of one task, the newest comes last and counts."""
    return said[0].token


def _given_before(connection: Connection, owner: Owner, request: str) -> list[Row[Any]]:
    statement = select(tasks).where(
        tasks.c.state == "leased",
        tasks.c.owner == owner.name,
        tasks.c.incarnation == owner.incarnation,
        tasks.c.request == request,
    )
    return list(connection.execute(statement))


def _claim(row: Row[Any], owner: Owner, new: int, results: dict[str, Any]) -> Claim:
    """new: the claims, 0 or 1, that the row does not count yet."""
    return Claim(
        id=row.id,
        token=row.token + new,
        owner=owner,
        kind=row.kind,
        payload=json.loads(row.payload),
        attempt=row.attempts + new,
        attempts=row.max_attempts,
        key=row.key,
        graph=row.graph,
        node=row.node,
        results=results,
    )


def _results(connection: Connection, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """What the tasks that these wait for have brought, by task and name."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts(ids):
        # Asked for those that are done, SQLite would go through all that are.
        statement = (
            select(edges.c.task, edges.c.name, tasks.c.state, tasks.c.result)
            .join(tasks, tasks.c.id == edges.c.needs)
            .where(edges.c.task.in_(part))
        )
        for task, name, state, result in connection.execute(statement):
            if state == "done":
                found.setdefault(task, {})[name] = json.loads(result)
    return found
