"""What keeps the store in order: leases that ran out, dead letters, what is to be cancelled, and what is old."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, and_, delete, exists, or_, select

from .claims import end_attempts
from .rows import insert_new, locked, parts, update_rows
from .schema import edges, leaders, tasks
from .settling import dependents, settle
from .task import FINAL, Owner, Reaped

#: Leases that are looked at in one transaction.
_REAPED = 1000


def reap(connection: Connection, now: float) -> Reaped:
    """End the attempts whose leases have run out, up to 1000 of them."""
    statement = (
        select(tasks)
        .where(tasks.c.state == "leased", tasks.c.lease_until <= now)
        .order_by(tasks.c.id)
        .limit(_REAPED)
        .with_for_update(skip_locked=True)
    )
    rows = list(connection.execute(statement))
    said = "the lease of {}, incarnation {}, ran out in attempt {}: it died, hung or was cut off"
    ended = [(row, said.format(row.owner, row.incarnation, row.attempts)) for row in rows]
    states = end_attempts(connection, now, ended).values()
    return Reaped(sum(state == "queued" for state in states), sum(state == "dead" for state in states))


def abandon(connection: Connection, now: float, owner: Owner) -> int:
    """End the attempts of earlier incarnations of an owner. Returns how many those were."""
    statement = (
        select(tasks)
        .where(tasks.c.state == "leased", tasks.c.owner == owner.name, tasks.c.incarnation != owner.incarnation)
        .order_by(tasks.c.id)
        .with_for_update()
    )
    rows = list(connection.execute(statement))
    ended = [(row, f"{row.owner}, incarnation {row.incarnation}, died in attempt {row.attempts}") for row in rows]
    return len(end_attempts(connection, now, ended))


def revive(connection: Connection, now: float, ids: Collection[str]) -> list[str]:
    """Queue dead letters anew, with all their attempts, and let what was cancelled because of them wait again."""
    dead = {i: row for i, row in locked(connection, ids).items() if row.state == "dead"}
    update_rows(
        connection,
        [
            {"number": row.number, "state": "queued", "attempts": 0, "due": now, "finished": None}
            for row in dead.values()
        ],
    )
    waiting: set[str] = set()
    following = set(dependents(connection, dead))
    while following:
        rows = locked(connection, following)
        again = {i: row for i, row in rows.items() if row.state == "cancelled" and row.cancelled_by is not None}
        update_rows(
            connection,
            [
                {"number": row.number, "state": "waiting", "cancelled_by": None, "finished": None, "error": None}
                for row in again.values()
            ],
        )
        waiting |= set(again)
        following = set(dependents(connection, again))
    settle(connection, now, waiting)
    return list(dead)


def cancel(connection: Connection, now: float, ids: Collection[str]) -> list[str]:
    """Cancel tasks that are not done or dead. Returns the ids of all of them that are cancelled now."""
    rows = locked(connection, ids)
    ended = {i: row for i, row in rows.items() if row.state not in FINAL}
    update_rows(
        connection,
        [
            {"number": row.number, "state": "cancelled", "finished": now, "error": "it was cancelled"}
            for row in ended.values()
        ],
    )
    settle(connection, now, dependents(connection, ended))
    return [i for i, row in rows.items() if i in ended or row.state == "cancelled"]


def forget(connection: Connection, before: float, limit: int) -> int:
    """Remove tasks that were done or cancelled before a time, unless others may still ask for them.

    Those are what is needed by a task that is not done, and a graph of which a part is dead, unfinished or younger.
    """
    user, other = tasks.alias("user"), tasks.alias("other")
    needed = exists().where(edges.c.needs == tasks.c.id, edges.c.task == user.c.id, user.c.state != "done")
    kept = or_(other.c.state.not_in(("done", "cancelled")), other.c.finished >= before)
    in_use = exists().where(and_(other.c.graph == tasks.c.graph, kept))
    statement = (
        select(tasks.c.id)
        .where(tasks.c.state.in_(("done", "cancelled")), tasks.c.finished < before, ~in_use)
        .where(or_(~needed, tasks.c.graph.is_not(None)))
        .order_by(tasks.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=tasks)
    )
    ids = list(connection.scalars(statement))
    for part in parts(ids):
        connection.execute(delete(edges).where(or_(edges.c.task.in_(part), edges.c.needs.in_(part))))
        connection.execute(delete(tasks).where(tasks.c.id.in_(part)))
    return len(ids)


def lead(connection: Connection, now: float, role: str, owner: str, seconds: float) -> bool:
    """Whether an owner has a role from now on for so many seconds: nobody else has it, or its time has run out."""
    insert_new(connection, leaders, [{"role": role, "owner": owner, "until": now}])
    row = connection.execute(select(leaders).where(leaders.c.role == role).with_for_update()).one_or_none()
    # It is gone where its owner has resigned just now.
    if row is None or (row.owner != owner and row.until > now):
        return False
    connection.execute(leaders.update().where(leaders.c.role == role).values(owner=owner, until=now + seconds))
    return True


def resign(connection: Connection, role: str, owner: str) -> None:
    """Let another owner have a role at once."""
    connection.execute(delete(leaders).where(leaders.c.role == role, leaders.c.owner == owner))
