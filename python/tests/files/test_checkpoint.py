"""Checkpoints: what is loaded is what was saved, or an error that says so."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from cognitive_actors.files import CheckpointError, load_arrays, save_arrays
from cognitive_actors.files.npz import write_npz

STATE = {
    "beliefs/0": np.linspace(0, 1, 12).reshape(3, 4),
    "steps": np.arange(3),
    "agents": np.array(["a", "bc", "ä"]),
    "none": np.zeros((0, 5), np.float32),
    "count": np.array(7),
}
META = {"position": 12, "paths": ["x.jsonl"], "nested": {"seed": 2**63, "rate": 0.1}}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint on disk."""
    save_arrays(tmp_path / "checkpoint.npz", STATE, META)
    return tmp_path / "checkpoint.npz"


def assert_same(loaded: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Equal to the bit, types and shapes included."""
    assert list(loaded) == list(expected)
    for name, x in expected.items():
        assert (loaded[name].dtype, loaded[name].shape) == (x.dtype, x.shape)
        assert loaded[name].tobytes() == x.tobytes()


def test_what_is_loaded_is_what_was_saved(saved: Path) -> None:
    arrays, meta = load_arrays(saved)
    assert_same(arrays, STATE)
    assert meta == META
    before = saved.read_bytes()
    save_arrays(saved, {name: np.asarray(x, order="F") for name, x in arrays.items()}, meta)
    assert saved.read_bytes() == before


@given(
    array=arrays_of.arrays(arrays_of.scalar_dtypes(), arrays_of.array_shapes(min_dims=0, min_side=0, max_dims=3)),
    meta=st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()),
)
@settings(max_examples=60)
def test_any_array_and_any_json(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, meta: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("checkpoints") / "x.npz"
    save_arrays(path, {"x": array}, meta)
    arrays, loaded = load_arrays(path)
    assert_same(arrays, {"x": array})
    assert loaded == meta


META_OF_PYTHON: dict[Any, Any] = {"pair": (1, 2), 10: "ten", 9: "nine"}


def test_metadata_comes_back_as_json_holds_it(tmp_path: Path) -> None:
    save_arrays(tmp_path / "x.npz", {}, META_OF_PYTHON)
    assert load_arrays(tmp_path / "x.npz") == ({}, {"pair": [1, 2], "10": "ten", "9": "nine"})


@given(data=st.data())
@settings(max_examples=150)
def test_no_damage_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("checkpoints") / "x.npz"
    save_arrays(path, STATE, META)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        arrays, meta = load_arrays(path)
    except CheckpointError as error:
        assert str(path) in str(error) and "without" in str(error)
    else:
        # A byte that means nothing, such as a date in the archive's directory.
        assert_same(arrays, STATE)
        assert meta == META


def test_a_forged_content_is_not_restored(saved: Path) -> None:
    with np.load(saved) as file:
        header = json.loads(str(file["meta"]))
    for forged, said in [
        ({**header, "sha256": "0" * 64}, "does not match its checksum"),
        ({**header, "meta": {**META, "position": 13}}, "does not match its checksum"),
        ({**header, "version": 2}, "format version 2, this program reads 1"),
        ({**header, "format": "other"}, "not a checkpoint"),
        ({}, "not a checkpoint"),
    ]:
        buffer = io.BytesIO()
        write_npz(buffer, STATE, forged)
        saved.write_bytes(buffer.getvalue())
        with pytest.raises(CheckpointError, match=f"checkpoint.npz: .*{said}.*without it|one"):
            load_arrays(saved)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with pytest.raises(CheckpointError, match=r"x\.npz: No such file"):
        load_arrays(path)
    np.savez(path, a=np.arange(3))
    with pytest.raises(CheckpointError, match="no array 'meta'"):
        load_arrays(path)
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(CheckpointError, match="pickled Python objects, which are never loaded"):
        load_arrays(path)


@pytest.mark.parametrize(
    ("arrays", "meta", "said"),
    [
        ({"a": np.array([{}], dtype=object)}, {}, "array 'a' holds Python objects"),
        ({"meta": np.zeros(1)}, {}, "kept for the metadata"),
        ({}, {"x": float("nan")}, "JSON"),
        ({}, {"x": object()}, "JSON"),
    ],
)
def test_what_cannot_be_stored_leaves_the_old_file(saved: Path, arrays: Any, meta: Any, said: str) -> None:
    before = saved.read_bytes()
    with pytest.raises(CheckpointError, match=rf"checkpoint\.npz: not written: .*{said}"):
        save_arrays(saved, arrays, meta)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
