"""A database as the tasks need it: transactions that are safe to repeat, one clock, and errors that say what to do."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from .errors import TaskStoreError, TasksUnavailable
from .schema import prepare

#: Names the file with the password of a database whose URL has none. Not PGPASSFILE: PostgreSQL's client leaves a file
#: aside that a group may read, as one may that is shared by people, or is a credential of systemd.
PASSWORD_FILE = "COGNITIVE_TASKS_PASSWORD_FILE"
#: Seconds to wait for a connection, and for another transaction to end.
_CONNECT, _LOCKED = 5, 30
#: Times to repeat a transaction that PostgreSQL ended because another one stood in its way.
_REPEATS = 20
#: serialization_failure and deadlock_detected.
_IN_THE_WAY = ("40001", "40P01")
_DAMAGED = ("malformed", "not a database", "corrupt")

R = TypeVar("R")


class Database:
    """The tables of a task store. They are made, or their version is looked at, before this is ready.

    place: a path, ``sqlite:///path`` or ``postgresql://``; synchronous: SQLite's, FULL so that what was answered
    survives a power cut. Raises ValueError for a place that is none, TaskStoreError for one that holds something else
    or is damaged, TasksUnavailable where it cannot be reached.
    """

    def __init__(self, place: str | Path, synchronous: str = "FULL") -> None:
        url = _url(place)
        self.sqlite = url.get_backend_name() == "sqlite"
        self.where = _shown(url)
        self._engine = _sqlite(url, synchronous) if self.sqlite else _postgresql(url)
        # SQLite would keep other writers out while something is read.
        self._reading = self._engine.execution_options(dispatch_reading=True)
        try:
            if self.sqlite:
                self.read(self._check_file)
            self.change(lambda connection: prepare(connection, self.where))
        except BaseException:
            self.close()
            raise

    def change(self, work: Callable[[Connection], R]) -> R:
        """What ``work`` returns, in a transaction that happens whole or not at all. It may be called several times."""
        return self._run(self._engine, work)

    def read(self, work: Callable[[Connection], R]) -> R:
        """What ``work`` returns, which must not change anything."""
        return self._run(self._reading, work)

    def now(self, connection: Connection) -> float:
        """Seconds since 1970 by the clock of the database, so that no other clock matters to a lease.

        SQLite is in this process and its file on this machine, so that clock is this machine's.
        """
        if self.sqlite:
            return time.time()
        return float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())::float8")) or 0.0)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def _run(self, engine: Engine, work: Callable[[Connection], R]) -> R:
        for repeat in range(_REPEATS):
            try:
                with engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _IN_THE_WAY or repeat == _REPEATS - 1:
                    raise self._explained(error) from None
            except PoolTimeout as error:
                raise TasksUnavailable(f"{self.where}: {error}; try again") from None
            except SQLAlchemyError as error:
                raise TaskStoreError(f"{self.where}: {error}") from error
            time.sleep(random.uniform(0, 0.01 * 2 ** min(repeat, 6)))
        raise AssertionError("the last repeat raises")

    def _explained(self, error: DBAPIError) -> TaskStoreError | TasksUnavailable:
        said = " ".join(str(error.orig).split())
        if any(word in said for word in _DAMAGED):
            return TaskStoreError(
                f"{self.where} is damaged or no SQLite database: {said}; it was left as it is: restore a copy of it, or"
                " move it away to begin with none"
            )
        state = getattr(error.orig, "sqlstate", None)
        if error.connection_invalidated or type(error).__name__ in ("OperationalError", "InterfaceError"):
            remedy = "check that it can be written and has space" if self.sqlite else "check its address and password"
            return TasksUnavailable(f"{self.where}: {said}; {remedy}, and try again")
        if state is not None and state[:2] in ("08", "53", "57", "55"):
            return TasksUnavailable(f"{self.where}: {said}; try again")
        return TaskStoreError(f"{self.where}: {said}")

    def _check_file(self, connection: Connection) -> None:
        found = str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        if found != "ok":
            raise TaskStoreError(
                f"{self.where} is damaged: {' '.join(found.split())}; it was left as it is: restore a copy of it, or"
                " move it away to begin with none"
            )


def is_server(place: str | Path | None) -> bool:
    """Whether a place is a database server, which every node reaches by itself."""
    return str(place or "").startswith(("postgresql:", "postgresql+psycopg:", "postgres:"))


def sqlite_path(place: str | Path) -> str:
    """The path of an SQLite file, absolute. Raises ValueError for a place that is none."""
    return str(_url(place).database)


def in_words(place: str | Path) -> str:
    """A place as people may read it: an absolute path, or a URL without its password. Raises ValueError for none."""
    return _shown(_url(place))


def _shown(url: URL) -> str:
    sqlite = url.get_backend_name() == "sqlite"
    return str(url.database) if sqlite else url.render_as_string(hide_password=True)


def _url(place: str | Path) -> URL:
    given = str(place)
    if not given:
        raise ValueError("the place of the tasks is empty; write a path, or postgresql://USER@HOST/DATABASE")
    if "://" not in given:
        return URL.create("sqlite", database=str(Path(given).absolute()))
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        # What was given is not shown: a password may be anywhere in it.
        raise ValueError(
            "the place of the tasks is no URL; write a path, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE, the"
            " special characters of a password as %XX"
        ) from None
    if is_server(given):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        raise ValueError(
            f"{url.render_as_string(hide_password=True)} cannot keep tasks; write a path, sqlite:////path, or"
            " postgresql://USER@HOST/DATABASE"
        )
    return URL.create("sqlite", database=str(Path(url.database).absolute()))


def _password() -> str | None:
    """The password that the surroundings name, None where they name none and PostgreSQL's client is to look for one."""
    path = os.environ.get(PASSWORD_FILE)
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{PASSWORD_FILE} is {path}: {error}; write a file that can be read") from None


def _sqlite(url: URL, synchronous: str) -> Engine:
    if synchronous not in ("FULL", "EXTRA", "NORMAL", "OFF"):
        raise ValueError(f"synchronous is {synchronous!r}; write FULL, or NORMAL to lose the last tasks in a power cut")
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TasksUnavailable(f"{path}: {error.strerror or error}; write a path that can be written") from None
    # Not by a URL, in which a "?" of the path would begin options.
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(path, timeout=_LOCKED, check_same_thread=False),
        poolclass=QueuePool,
        pool_size=2,
        max_overflow=8,
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, record: object) -> None:
        # SQLAlchemy begins transactions then, and not the driver, which would begin late.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", f"synchronous={synchronous}", f"busy_timeout={_LOCKED * 1000}"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        # One that became a writer only later could find that another had been quicker, and fail.
        reading = connection.get_execution_options().get("dispatch_reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: URL) -> Engine:
    if url.password is None:
        url = url.set(password=_password())
    # A client that hangs in a transaction must not keep the others waiting for ever.
    limits = f"-c lock_timeout={_LOCKED}s -c idle_in_transaction_session_timeout={2 * _LOCKED}s"
    try:
        return create_engine(
            url,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            pool_size=2,
            max_overflow=8,
            connect_args={"connect_timeout": _CONNECT, "options": limits, "application_name": "cognitive-actors"},
        )
    except ImportError:
        raise ValueError(
            f"{url.render_as_string(hide_password=True)}: the PostgreSQL client is missing; install"
            " cognitive-actors[postgres]"
        ) from None
