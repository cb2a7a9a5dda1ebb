"""Checkpoint stores: the same promises in a directory, in object storage and in Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis_server import redis_server
from s3_server import s3_server

from cognitive_actors.files import CheckpointError
from cognitive_actors.files.store import (
    ArraySpec,
    CheckpointStore,
    SchemaMismatch,
    StaleWriter,
    StoreUnavailable,
    open_store,
)
from cognitive_actors.files.store.names import decode_key, encode_key

Reopen = Callable[[], CheckpointStore]


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis server for this module."""
    with redis_server(tmp_path_factory.mktemp("redis")) as address:
        yield address


@pytest.fixture(scope="module")
def s3_service() -> Iterator[str]:
    """An S3 service with a bucket, for this module."""
    with pytest.MonkeyPatch.context() as monkeypatch, s3_server(monkeypatch) as url:
        import s3fs

        s3fs.S3FileSystem(anon=False).mkdir("bucket")
        yield url


@pytest.fixture(params=["directory", "file", "memory", "redis", "s3"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    """Opens one and the same empty store, as often as it is called."""
    if request.param == "s3":
        request.getfixturevalue("s3_service")
        folder = f"s3://bucket/{uuid4().hex}"
        return lambda: open_store(folder)
    if request.param == "redis":
        import redis

        address = request.getfixturevalue("redis_address")
        redis.Redis.from_url(f"redis://{address}").flushall()
        return lambda: open_store(f"redis://{address}")
    unique = uuid4().hex
    url = {"directory": str(tmp_path / "a b"), "file": f"file://{tmp_path}/a%20b", "memory": f"memory://{unique}"}
    return lambda: open_store(url[request.param])


def state(number: int) -> dict[str, np.ndarray]:
    """Arrays that no other number gives."""
    return {"x": np.full((2, 3), number, dtype=np.float64), "n": np.array([number])}


def saved(store: CheckpointStore, key: str, count: int) -> None:
    for number in range(1, count + 1):
        assert store.save(key, state(number), {"number": number}) == number


def test_the_newest_generation_is_loaded_and_three_are_kept(reopen: Reopen) -> None:
    assert reopen().load("agent") is None and reopen().keys() == []
    saved(reopen(), "agent", 5)
    checkpoint = reopen().load("agent")
    assert checkpoint is not None
    assert (checkpoint.generation, checkpoint.latest, checkpoint.meta) == (5, 5, {"number": 5})
    assert list(checkpoint.arrays) == ["x", "n"]
    assert checkpoint.arrays["x"].dtype == np.float64 and (checkpoint.arrays["x"] == 5).all()
    assert sorted(reopen()._medium.generations("agent")) == [3, 4, 5]


HARD = ["..", "../../etc/passwd", "/root", ".", "a/b", "a b", "%2F", "~", "-", "ä" * 300, "x" * 1000, "x" * 1001]
HARD += ["nul\0", "new\nline", "\ud800", "CON", "a~b", "*", "[a]", "?", "{a}", "agent"]


def test_keys_are_any_text(reopen: Reopen, tmp_path: Path) -> None:
    store = reopen()
    for key in HARD:
        assert store.save(key, {"x": np.array(key.encode("utf-8", "surrogatepass"))}, {"key": key}) == 1
    assert store.keys() == sorted(HARD)
    for key in HARD:
        checkpoint = reopen().load(key)
        assert checkpoint is not None and checkpoint.meta == {"key": key}
    assert {path.name for path in tmp_path.iterdir()} <= {"a b"}
    for key in HARD[::2]:
        store.forget(key)
        store.forget(key)
    assert store.keys() == sorted(HARD[1::2]) and store.load(HARD[0]) is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_no_two_keys_share_a_name(first: str, second: str) -> None:
    name = encode_key(first)
    assert (name == encode_key(second)) == (first == second)
    assert "/" not in name and "." not in name and "\0" not in name and len(name.encode()) <= 200
    assert decode_key(name) in (first, None) and (decode_key(name) == first or "~" in name)


def test_a_key_is_not_empty(reopen: Reopen) -> None:
    for call in (reopen().load, reopen().forget):
        with pytest.raises(ValueError, match="the key of a checkpoint is ''; write a name"):
            call("")


def test_a_fenced_writer_does_not_overwrite(reopen: Reopen) -> None:
    old, new = reopen(), reopen()
    first = old.save("agent", state(1), {}, after=0)
    taken = new.save("agent", state(2), {}, after=first)
    for after in (0, first, taken + 1):
        with pytest.raises(StaleWriter, match=rf"'agent'.*is at generation 2, and this writer last knew {after}"):
            old.save("agent", state(3), {}, after=after)
    checkpoint = reopen().load("agent")
    assert checkpoint is not None and (checkpoint.generation, int(checkpoint.arrays["n"][0])) == (2, 2)


def test_a_writer_that_was_very_late_adds_nothing(reopen: Reopen) -> None:
    saved(reopen(), "agent", 7)
    # Generation 4 is no longer there: a writer that hung since generation 3 finds its name free.
    assert reopen()._medium.add("agent", 4, b"late", 3) is False
    assert sorted(reopen()._medium.generations("agent")) == [5, 6, 7]


def test_of_writers_at_once_each_has_its_generation(reopen: Reopen) -> None:
    numbers: list[int] = []

    def write(writer: int) -> None:
        store = reopen()
        for _ in range(8):
            numbers.append(store.save("agent", state(writer), {"writer": writer}))

    _at_once(write, 3)
    # One that others had pushed out before its writer looked again was saved once more, under a later number.
    assert len(set(numbers)) == 24 <= max(numbers)
    checkpoint = reopen().load("agent")
    assert checkpoint is not None and checkpoint.generation == max(numbers)
    assert (checkpoint.arrays["n"] == checkpoint.meta["writer"]).all()


def test_of_writers_after_the_same_generation_one_wins(reopen: Reopen) -> None:
    outcomes: list[object] = []

    def write(writer: int) -> None:
        try:
            outcomes.append(reopen().save("agent", state(writer), {}, after=0))
        except StaleWriter:
            outcomes.append("stale")

    _at_once(write, 4)
    assert sorted(map(str, outcomes)) == ["1", "stale", "stale", "stale"]


def _at_once(work: Callable[[int], None], writers: int) -> None:
    threads = [threading.Thread(target=work, args=(i,)) for i in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_a_schema_says_what_differs(reopen: Reopen) -> None:
    store = reopen()
    saved(store, "agent", 1)
    assert store.load("agent", {"x": ArraySpec("float64", (None, 3)), "n": ArraySpec.of(np.array([1]), free=(0,))})
    with pytest.raises(SchemaMismatch) as error:
        store.load("agent", {"x": ArraySpec("float32", (2, 4)), "more": ArraySpec("bool", (None,))})
    for said in (
        "'x' is float64 (2, 3), not float32 (2, 4)",
        "'more' is missing (bool (any))",
        "'n' is not expected",
        "'agent', generation 1",
    ):
        assert said in str(error.value)


def test_what_cannot_be_stored_leaves_what_is_there(reopen: Reopen) -> None:
    store = reopen()
    saved(store, "agent", 1)
    with pytest.raises(CheckpointError, match="'agent', generation 2: not written: array 'x' holds Python objects"):
        store.save("agent", {"x": np.array([{}], dtype=object)}, {})
    with pytest.raises(CheckpointError, match=r"not written: .*JSON"):
        store.save("agent", {}, {"x": float("nan")})
    checkpoint = store.load("agent")
    assert checkpoint is not None and checkpoint.latest == 1


def test_a_bucket_that_is_not_there_is_not_made(s3_service: str) -> None:
    store = open_store("s3://other/agents")
    assert store.load("agent") is None
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"s3://other/agents: not saved: .*bucket.*; make it"):
            store.save("agent", state(1), {})
    assert store.load("agent") is None


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "the checkpoint URL is empty"),
        ("nonsense://host/x", "nonsense"),
        ("file://host/x", "names no path of this machine"),
        ("redis://user:pa/s:s@host", "is no URL of Redis"),
    ],
)
def test_a_url_that_names_no_store(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        open_store(url)
    assert "pa/" not in str(error.value) and error.value.__cause__ is None


def test_a_password_opens_redis_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with redis_server(tmp_path, password="s3cret/x") as address:
        for password in ("", "wr0ng@x"):
            with pytest.raises(StoreUnavailable) as error:
                open_store(f"redis://:{password}@{address}").load("agent")
            assert "password" in str(error.value) and "wr0ng" not in str(error.value) and address in str(error.value)
        saved(open_store(f"redis://:s3cret%2Fx@{address}"), "agent", 1)
        (tmp_path / "password").write_text("s3cret/x\n")
        monkeypatch.setenv("COGNITIVE_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
        store = open_store(f"redis://{address}")
        assert store.load("agent") and store.where == f"redis://{address}"
        monkeypatch.delenv("COGNITIVE_REDIS_PASSWORD_FILE")
        monkeypatch.setenv("COGNITIVE_REDIS_PASSWORD", "s3cret/x")
        assert open_store(f"redis://{address}").keys() == ["agent"]
    with pytest.raises(StoreUnavailable, match=r"not read: .*check the address, that Redis answers"):
        store.load("agent")
    monkeypatch.setenv("COGNITIVE_REDIS_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="write a file that can be read"):
        open_store(f"redis://{address}")
    assert "s3cret" not in caplog.text


def test_checkpoints_outlive_the_redis_server(tmp_path: Path) -> None:
    with redis_server(tmp_path) as address:
        saved(open_store(f"redis://{address}"), "agent", 2)
    with redis_server(tmp_path) as address:
        checkpoint = open_store(f"redis://{address}").load("agent")
        assert checkpoint is not None and checkpoint.generation == 2


def test_redis_that_is_full_keeps_what_it_has(tmp_path: Path) -> None:
    with redis_server(tmp_path, maxmemory="8mb") as address:
        store = open_store(f"redis://{address}")
        saved(store, "agent", 1)
        with pytest.raises(StoreUnavailable, match=r"not saved: .*saved earlier are still there"):
            for number in range(30):
                store.save(f"large {number}", {"x": np.zeros(1 << 17)}, {})
        assert store.load("agent") is not None
