"""Where tasks are: what is no place is refused, what holds something else is left as it is, an outage is told."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path

import pytest
from postgres_server import PostgresServer, emptied, postgres_server
from sqlalchemy import create_engine, text

from cognitive_actors.dispatch import NewTask, Owner, SqlTaskStore, TaskStoreError, TasksUnavailable, open_store
from cognitive_actors.dispatch.ledger import where_of


def test_what_is_no_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, said in (
        ("", "the place of the tasks is empty"),
        ("mysql://root:secret@host/db", "cannot keep tasks; write a path"),
        ("sqlite://", "cannot keep tasks"),
        ("sqlite:///:memory:", "cannot keep tasks"),
        ("postgresql://a:secret@host:port/db", "is no URL; write a path, or postgresql://USER"),
    ):
        with pytest.raises(ValueError, match=said) as refused:
            SqlTaskStore(place)
        assert "secret" not in str(refused.value)
    with pytest.raises(ValueError, match="synchronous is 'MAYBE'; write FULL"):
        SqlTaskStore("/tmp/never", synchronous="MAYBE")
    monkeypatch.delenv("COGNITIVE_TASKS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(ValueError, match=r"no place of tasks is named; .* or set COGNITIVE_TASKS"):
        open_store()


def test_a_place_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COGNITIVE_TASKS", raising=False)
    assert where_of(None) is None and where_of("/tmp/../a b.db") == "/tmp/../a b.db"
    monkeypatch.setenv("COGNITIVE_TASKS", "postgres://a:secret@host/db")
    assert where_of(None) == where_of("postgresql://a:other@host/db") == "postgresql+psycopg://a:***@host/db"


def test_a_place_may_be_any_path_and_is_the_same_later(tmp_path: Path) -> None:
    path = tmp_path / "new" / "ä ?mode=ro&x#%20.db"
    for place in (path, str(path), path):
        store = SqlTaskStore(place)
        store.enqueue([NewTask("x", key="a")])
        assert store.counts()["queued"] == 1 and store.where == str(path)
        with pytest.raises(TypeError, match="connections cannot be sent; give its place"):
            pickle.dumps(store)
        store.close()
    other = SqlTaskStore(f"sqlite:///{tmp_path}/other.db")
    assert other.where == f"{tmp_path}/other.db" and other.counts()["queued"] == 0
    other.close()


def test_what_was_answered_is_on_the_disk(tmp_path: Path) -> None:
    store = SqlTaskStore(tmp_path / "tasks.db")
    settings = store._db.read(
        lambda c: {
            p: c.exec_driver_sql(f"PRAGMA {p}").scalar() for p in ("synchronous", "journal_mode", "busy_timeout")
        }
    )
    assert settings == {"synchronous": 2, "journal_mode": "wal", "busy_timeout": 30_000}
    store.close()


@pytest.mark.parametrize("damage", ["header", "short", "pages", "schema", "text"])
def test_a_damaged_file_is_refused_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "tasks.db"
    store = SqlTaskStore(path)
    store.enqueue([NewTask("x", "a" * 500, key=f"k{n}") for n in range(500)])
    store.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    if damage == "header":
        content[:8] = b"\xff" * 8
    elif damage == "short":
        del content[len(content) // 2 :]
    elif damage == "pages":
        for page in range(3 * 4096, len(content), 4096):
            content[page : page + 64] = b"\xa5" * 64
    elif damage == "schema":
        content[100:300] = b"\0" * 200
    else:
        content = bytearray(b"dear diary")
    path.write_bytes(content)
    with pytest.raises(TaskStoreError, match=r"tasks\.db is (damaged|a database of something else)") as refused:
        SqlTaskStore(path)
    assert path.read_bytes() == content and str(path) in str(refused.value)


def test_a_file_of_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "tasks.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE diary (day TEXT)")
    with pytest.raises(TaskStoreError, match=r"is a database of something else .*'diary'.*; write another path"):
        SqlTaskStore(path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("diary",)]


@pytest.mark.parametrize(("version", "age"), [("2", "a newer"), ("0", "an older")])
def test_another_version_is_refused(place: str, version: str, age: str) -> None:
    store = SqlTaskStore(place)
    store.enqueue([NewTask("x")])
    store._db.change(lambda c: c.execute(text(f"UPDATE dispatch_schema SET version = {version}")))
    store.close()
    with pytest.raises(
        TaskStoreError, match=f"made by {age} version of this package: its tables are of version {version}"
    ):
        SqlTaskStore(place)


def test_a_path_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "tasks.db"):
        with pytest.raises(TasksUnavailable, match=r"write a path|check that it can be written"):
            SqlTaskStore(path)


def test_a_server_that_is_away_is_unavailable_and_comes_back() -> None:
    with postgres_server() as server:
        store = open_store(server.url)
        (i,) = store.enqueue([NewTask("x", 1)])
        (claim,) = store.claim(Owner("a", "1"), ["x"], 1, 600)
        server.stop()
        for _ in range(2):
            with pytest.raises(TasksUnavailable, match="try again"):
                store.complete([(claim, 2)])
        with pytest.raises(TasksUnavailable):
            open_store(server.url)
        server.start()
        assert store.complete([(claim, 2)]) == [i] and store.result(i) == 2
        store.close()


def test_a_password_is_not_shown() -> None:
    with pytest.raises(TasksUnavailable) as error:
        SqlTaskStore("postgresql://nobody:secret@127.0.0.1:1/none")
    assert "secret" not in str(error.value) and "127.0.0.1:1" in str(error.value)


def test_a_password_may_be_in_a_file_that_a_group_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    with postgres_server() as server:
        engine = create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.begin() as connection:
            connection.execute(text("CREATE ROLE guest LOGIN SUPERUSER PASSWORD 'p:a@ss word'"))
            (server.data / "pg_hba.conf").write_text("local all guest scram-sha-256\nlocal all all trust\n")
            connection.execute(text("SELECT pg_reload_conf()"))
        engine.dispose()
        url = f"postgresql://guest@{server.url.partition('@')[2]}"
        file.write_text("p:a@ss word\n")
        file.chmod(0o640)
        with pytest.raises(TasksUnavailable, match="no password supplied; check its address and password"):
            SqlTaskStore(url)
        monkeypatch.setenv("COGNITIVE_TASKS_PASSWORD_FILE", str(file))
        store = SqlTaskStore(url)
        assert store.enqueue([NewTask("x")])
        store.close()
        # One in the URL takes its place.
        with pytest.raises(TasksUnavailable, match="password authentication failed") as error:
            SqlTaskStore(url.replace("guest@", "guest:other@"))
        assert "p:a" not in str(error.value)
    monkeypatch.setenv("COGNITIVE_TASKS_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"COGNITIVE_TASKS_PASSWORD_FILE is .*/none: .*; write a file that can be"):
        SqlTaskStore(url)


def test_tables_of_others_do_not_matter_in_postgres(postgres: PostgresServer) -> None:
    url = emptied(postgres)
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS diary (day TEXT)"))
    engine.dispose()
    store = SqlTaskStore(url)
    assert store.enqueue([NewTask("x")])
    store.close()
