"""The tables of a task store, on SQLite and PostgreSQL alike."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    select,
    text,
)

from .errors import TaskStoreError

#: Of the tables below. One that reads or writes them otherwise needs another number.
VERSION = 1
#: The number under which PostgreSQL lets one process at a time make the tables. A choice.
_MAKING = 7247_2026

metadata = MetaData()

versions = Table("dispatch_schema", metadata, Column("version", Integer, primary_key=True, autoincrement=False))

tasks = Table(
    "dispatch_tasks",
    metadata,
    # The order in which tasks came. SQLite numbers rows in columns of this type only.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("payload", Text, nullable=False),
    Column("key", String, unique=True),
    Column("graph", String),
    Column("node", String),
    Column("state", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due", Float(53), nullable=False),
    Column("created", Float(53), nullable=False),
    Column("finished", Float(53)),
    Column("on_failure", String, nullable=False),
    # The task whose failure cancelled this one.
    Column("cancelled_by", String),
    Column("max_attempts", Integer, nullable=False),
    Column("first", Float(53), nullable=False),
    Column("factor", Float(53), nullable=False),
    Column("most", Float(53), nullable=False),
    Column("jitter", Float(53), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    # Counts the claims: the fencing token. It never goes back.
    Column("token", Integer, nullable=False, default=0),
    Column("owner", String),
    Column("incarnation", String),
    Column("request", String),
    Column("lease_until", Float(53)),
    Column("completions", Integer, nullable=False, default=0),
    Column("result", Text),
    Column("error", Text),
    UniqueConstraint("graph", "node"),
)
Index("dispatch_tasks_queue", tasks.c.state, tasks.c.priority.desc(), tasks.c.due, tasks.c.number)

edges = Table(
    "dispatch_edges",
    metadata,
    Column("task", String, primary_key=True),
    Column("needs", String, primary_key=True),
    # What the task calls the one it needs.
    Column("name", String, nullable=False),
)
Index("dispatch_edges_needs", edges.c.needs)

leaders = Table(
    "dispatch_leaders",
    metadata,
    Column("role", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("until", Float(53), nullable=False),
)


def prepare(connection: Connection, where: str) -> None:
    """Make the tables where there are none, inside a transaction.

    Raises TaskStoreError for tables of another version, or an SQLite file that holds something else.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MAKING})
    there = set(inspect(connection).get_table_names())
    if versions.name not in there:
        if connection.dialect.name == "sqlite" and there:
            raise TaskStoreError(
                f"{where} is a database of something else (it has the table {min(there)!r}); write another path"
            )
        metadata.create_all(connection)
        connection.execute(versions.insert().values(version=VERSION))
        return
    found = list(connection.scalars(select(versions.c.version)))
    if found != [VERSION]:
        shown = ", ".join(map(str, found)) or "no version"
        age = "a newer" if max(found, default=0) > VERSION else "an older"
        raise TaskStoreError(
            f"{where} was made by {age} version of this package: its tables are of version {shown}, and these are read"
            f" here: {VERSION}; use the package that made it, or write another place"
        )
