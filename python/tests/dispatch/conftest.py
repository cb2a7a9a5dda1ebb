"""Both stores of tasks, for tests that must hold on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import PostgresServer, emptied, postgres_server

from cognitive_actors.dispatch import Owner, SqlTaskStore, TaskStore

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that tests share; each empties it."""
    with postgres_server() as server:
        yield server


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
