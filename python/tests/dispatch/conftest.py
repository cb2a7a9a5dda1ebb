"""Both stores of tasks, for tests that must hold on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import PostgresServer, postgres_server
from sqlalchemy import create_engine, text

from cognitive_actors.dispatch import Owner, SqlTaskStore, TaskStore

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that tests share; each empties it."""
    with postgres_server() as server:
        yield server


def emptied(server: PostgresServer) -> str:
    """The URL of a server, without the tables of an earlier test."""
    engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for table in ("schema", "tasks", "edges", "leaders"):
            connection.execute(text(f"DROP TABLE IF EXISTS dispatch_{table}"))
    engine.dispose()
    return server.url


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of tasks with none in it."""
    if request.param == "sqlite":
        return str(tmp_path / "tasks.db")
    return emptied(request.getfixturevalue("postgres"))


@pytest.fixture
def store(place: str) -> Iterator[TaskStore]:
    """A store with no tasks, reached by this process itself."""
    opened = SqlTaskStore(place)
    yield opened
    opened.close()


@pytest.fixture
def owner() -> Owner:
    return Owner("one", "1")
