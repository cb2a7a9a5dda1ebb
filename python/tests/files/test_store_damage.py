"""Damage of any generation: what is loaded is what was saved, or an error, or the generation before."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis_server import redis_server

from cognitive_actors.files import CheckpointError
from cognitive_actors.files.checkpoint import unpack_arrays
from cognitive_actors.files.store import CheckpointStore, StoreUnavailable, open_store

KEYS = ("agent", "other")


def arrays(key: str, number: int) -> dict[str, np.ndarray]:
    """Different for each key and number, equal in size."""
    return {"x": np.full(4, number + 10 * KEYS.index(key), dtype=np.float64), "text": np.array([key])}


def fill(store: CheckpointStore) -> None:
    for key in KEYS:
        for number in range(1, 5):
            store.save(key, arrays(key, number), {"key": key, "number": number})


def file_of(directory: Path, key: str, number: int) -> Path:
    return directory / key / f"{number:020d}.npz"


def assert_right_or_refused(store: CheckpointStore) -> None:
    left = store.keys()
    for key in KEYS:
        try:
            checkpoint = store.load(key)
        except CheckpointError as error:
            assert key in str(error) and "forget" in str(error)
            continue
        if checkpoint is None:
            assert key not in left
            continue
        expected = arrays(key, checkpoint.generation)
        assert checkpoint.meta == {"key": key, "number": checkpoint.generation}
        assert checkpoint.arrays.keys() == expected.keys()
        for name, x in expected.items():
            assert np.array_equal(checkpoint.arrays[name], x) and checkpoint.arrays[name].dtype == x.dtype


PLACES = st.tuples(st.sampled_from(KEYS), st.integers(2, 4))
DAMAGE = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), PLACES, st.integers(0, 10**6), st.integers(1, 255)),
        st.tuples(st.just("cut"), PLACES, st.integers(0, 10**6)),
        st.tuples(st.just("swap"), PLACES, PLACES),
        st.tuples(st.just("write"), PLACES, st.binary(max_size=60)),
        st.tuples(st.just("remove"), PLACES),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("filled")
    fill(open_store(directory))
    return directory


@given(damage=DAMAGE)
@settings(max_examples=150)
def test_no_damage_loads_wrong_data(
    tmp_path_factory: pytest.TempPathFactory, filled: Path, damage: list[tuple[object, ...]]
) -> None:
    directory = tmp_path_factory.mktemp("damaged") / "store"
    shutil.copytree(filled, directory)
    for kind, place, *more in damage:
        _inflict(directory, kind, place, *more)
    assert_right_or_refused(open_store(directory))
    shutil.rmtree(directory)


def _inflict(directory: Path, kind: object, place: object, *more: object) -> None:
    path = file_of(directory, *place)  # type: ignore[misc]
    if kind == "remove":
        path.unlink(missing_ok=True)
    elif kind == "write":
        path.write_bytes(more[0])  # type: ignore[arg-type]
    elif path.exists() and kind == "swap":
        other = file_of(directory, *more[0])  # type: ignore[misc]
        if other.exists():
            first, second = path.read_bytes(), other.read_bytes()
            path.write_bytes(second)
            other.write_bytes(first)
    elif path.exists() and (content := bytearray(path.read_bytes())):
        position = int(more[0]) % len(content)  # type: ignore[call-overload]
        if kind == "cut":
            content = content[:position]
        else:
            content[position] ^= int(more[1])  # type: ignore[call-overload]
        path.write_bytes(content)


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(CheckpointError, match="here: "):
        unpack_arrays(content, "here")


@given(data=st.data())
@settings(max_examples=300)
def test_altered_bytes_are_refused_or_harmless(filled: Path, data: st.DataObject) -> None:
    content = bytearray(file_of(filled, "agent", 4).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        loaded, meta = unpack_arrays(bytes(content), "here")
    except CheckpointError as error:
        assert str(error).startswith("here: ")
    else:
        assert meta == {"key": "agent", "generation": 4, "meta": {"key": "agent", "number": 4}}
        assert all(np.array_equal(loaded[name], x) for name, x in arrays("agent", 4).items())


def test_a_header_that_python_cannot_parse(filled: Path) -> None:
    # Numpy reads an array's header as Python text; each of these breaks another part of its parser.
    original = file_of(filled, "agent", 4).read_bytes()
    header = original[original.index(b"{'descr'") :][:40]
    for replacement in (b"{", b"(((((", b"{[]:1}", b"'", b"\0", b"{'descr': '(,)f8'", b"{'descr': ''", b"\xff\xfe"):
        broken = original.replace(header, replacement.ljust(len(header)), 1)
        assert len(broken) == len(original) and broken != original
        with pytest.raises(CheckpointError, match=r"here: .*restore an older checkpoint"):
            unpack_arrays(broken, "here")


def test_the_generation_before_stands_in_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = open_store(tmp_path)
    fill(store)
    newest = file_of(tmp_path, "agent", 4)
    newest.write_bytes(newest.read_bytes()[:-9])
    checkpoint = store.load("agent")
    assert checkpoint is not None and (checkpoint.generation, checkpoint.latest) == (3, 4)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "generation 4 is damaged" in caplog.text and "generation 3 is used instead" in caplog.text
    # Whoever goes on from there does not write over the damaged one, which somebody may want to look at.
    assert store.save("agent", arrays("agent", 5), {}, after=checkpoint.latest) == 5
    assert newest.exists()


def test_the_same_in_redis(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with redis_server(tmp_path) as address:
        import redis

        store, client = open_store(f"redis://{address}"), redis.Redis.from_url(f"redis://{address}")
        fill(store)
        name = "cognitive-actors:checkpoint:agent"
        client.hset(name, "4", client.hget(name, "3"))
        checkpoint = store.load("agent")
        assert checkpoint is not None and checkpoint.generation == 3
        assert "it is generation 3 of 'agent'; put it back in its place" in caplog.text
        for number in "234":
            client.hset(name, number, b"PK")
        with pytest.raises(CheckpointError, match="no generation can be restored: generation 4 is damaged"):
            store.load("agent")


def test_if_all_are_damaged_it_says_what_to_do(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store)
    for number in (2, 3, 4):
        file_of(tmp_path, "agent", number).write_bytes(b"")
    file_of(tmp_path, "agent", 4).unlink()
    file_of(tmp_path, "agent", 4).mkdir()
    with pytest.raises(CheckpointError, match=r"'agent': no generation can be restored: .*forget\('agent'\) to start"):
        store.load("agent")
    file_of(tmp_path, "agent", 4).rmdir()
    store.forget("agent")
    assert store.load("agent") is None and store.keys() == ["other"]


def test_names_of_others_are_left_alone(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store)
    for name in ("99999999999999999999.npz", "5.npz", "notes.txt", ".hidden"):
        (tmp_path / "agent" / name).write_bytes(b"?")
    (tmp_path / "a.b").mkdir()
    (tmp_path / "lost+found").mkdir()
    checkpoint = store.load("agent")
    assert checkpoint is not None and checkpoint.generation == 4 and store.keys() == ["agent", "other"]
    assert store.save("agent", {}, {}) == 5
    assert (tmp_path / "agent" / "notes.txt").exists()


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store)
    for number in (2, 5):
        (tmp_path / "agent" / f".{number}.unfinished-0123456789ab").write_bytes(b"half")
    assert store.save("agent", {}, {}) == 5
    assert [path.name for path in (tmp_path / "agent").glob(".*")] == [".5.unfinished-0123456789ab"]
    for _ in range(3):
        store.save("agent", {}, {})
    assert not list((tmp_path / "agent").glob(".*"))


def test_a_full_disk_is_named_and_costs_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, timeout=20, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        store = open_store(tmp_path)
        fill(store)
        with pytest.raises(StoreUnavailable, match=r"not saved: No space left on device; free some space"):
            store.save("agent", {"x": np.zeros(1 << 16)}, {})
        assert_right_or_refused(store)
        assert store.save("agent", arrays("agent", 5), {"key": "agent", "number": 5}) == 5
        assert not list(tmp_path.rglob(".*"))
    finally:
        subprocess.run(["umount", str(tmp_path)], timeout=20, check=True)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_quota_that_is_used_up(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    fill(store)
    with largest_file(8192), pytest.raises(StoreUnavailable, match=r"not saved: File too large; free some space"):
        store.save("agent", {"x": np.zeros(1 << 16)}, {})
    checkpoint = store.load("agent")
    assert checkpoint is not None and checkpoint.generation == 4 and not list(tmp_path.rglob(".*"))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match=r"not saved: .*write a directory that can be written"):
        open_store(tmp_path / "file").save("agent", {}, {})
