"""Checkpoint files and generations of a store of any content, and values kept in them as text."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from effort import effort
from hypothesis import given
from hypothesis import strategies as st
from mutations import FRAGMENTS, archive, array_bytes, header, mutated

from cognitive_actors.files import CheckpointError, load_arrays
from cognitive_actors.files.checkpoint import pack_arrays, unpack_arrays
from cognitive_actors.files.plain_text import from_text, to_text
from cognitive_actors.files.store import open_store

STATE = {"x": np.linspace(0, 1, 6).reshape(2, 3), "names": np.array(["a", "ä"]), "n": np.array(7)}
META = {"key": "agent", "generation": 2, "meta": {"number": 2}}
GOOD = pack_arrays(STATE, META, "here")
with zipfile.ZipFile(io.BytesIO(GOOD)) as _file:
    MEMBERS = {name.removesuffix(".npy"): _file.read(name) for name in _file.namelist()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


def restore(path: Path, content: bytes) -> None:
    """From a file and from bytes alike: what was saved, or an error that names the source."""
    path.write_bytes(content)
    for source in (str(path), "here"):
        try:
            arrays, meta = load_arrays(path) if source != "here" else unpack_arrays(content, "here")
        except CheckpointError as error:
            assert source in str(error)
            str(error).encode("utf-8", "backslashreplace")
        else:
            assert meta == META and arrays.keys() == STATE.keys()
            assert all(arrays[name].tobytes() == x.tobytes() for name, x in STATE.items())


@given(content=st.binary(max_size=400) | mutated([GOOD]))
@effort(500)
def test_a_file(place: Path, content: bytes) -> None:
    restore(place / "x.npz", content)


@given(
    name=st.sampled_from([*STATE, "meta"]),
    content=st.one_of(
        mutated([array_bytes(x) for x in STATE.values()]),
        st.builds(
            header, st.sampled_from(["'<f8'", "'|O'", "'<U0'", "''"]), st.sampled_from(["(10**9,)", "()", "(-1,)"])
        ),
    ),
    compression=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
)
@effort(300)
def test_a_file_whose_checksums_of_the_archive_are_right(
    place: Path, name: str, content: bytes, compression: int
) -> None:
    restore(place / "x.npz", archive({**MEMBERS, name: content}, compression))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    changes=st.dictionaries(st.sampled_from(["format", "version", "meta", "sha256"]), JSON, max_size=4),
    text=st.sampled_from(["", "[" * 2000, '{"a":' * 2000, "null", "NaN", '{"format": 1e999}']) | st.none(),
)
@effort(300)
def test_a_header_of_any_json(place: Path, changes: dict[str, Any], text: str | None) -> None:
    given_ = json.loads(str(np.load(io.BytesIO(MEMBERS["meta"]))))
    written = json.dumps({**given_, **changes}) if text is None else text
    restore(place / "x.npz", archive({**MEMBERS, "meta": np.array(written)}))


@given(newest=mutated([GOOD]) | st.binary(max_size=100), older=st.binary(max_size=60) | st.just(GOOD))
@effort(200)
def test_generations_of_a_store(tmp_path_factory: pytest.TempPathFactory, newest: bytes, older: bytes) -> None:
    directory = tmp_path_factory.mktemp("store")
    store = open_store(directory)
    store.save("agent", STATE, {"number": 1})
    for number, content in ((2, older), (3, newest)):
        (directory / "agent" / f"{number:020d}.npz").write_bytes(content)
    found = store.load("agent")
    # The first is whole: nothing that is in place of others may keep it, or the second, from being found.
    expected = 2 if older == GOOD else 1
    assert found is not None and (found.generation, found.latest, found.meta) == (expected, 3, {"number": expected})
    assert all(found.arrays[name].tobytes() == x.tobytes() for name, x in STATE.items())


KEPT = [to_text(value, "it") for value in (None, [1, {"a": 0.5}], np.arange(3), {"x": np.zeros((2, 2), np.float32)})]
FORGED = [
    'array:["|O", [1], "AAAA"]',
    'array:["<f8", [-1], ""]',
    'array:["<U0", [1000000000000], ""]',
    "array:",
    "array:[]",
]
FORGED += ['array:["<f8", [1e3], ""]', 'array:["", [0], ""]', "arrays:[]", 'arrays:{"a": 1}', 'array:["<f8", {}, ""]']
FORGED += [
    'array:["<f8", [true], "AAAAAAAAAAA="]',
    'array:["<f8", [1], "ä"]',
    'array:[["a", "O"], [0], ""]',
    "NaN",
    "[",
]
FORGED += ['array:["<f8", [' + "1," * 99 + '1], "AAAAAAAAAAA="]', 'array:["V0", [4000000000], ""]', "[" * 5000]


@given(
    st.one_of(
        st.text(max_size=50),
        st.sampled_from(FORGED),
        mutated([text.encode() for text in KEPT]).map(lambda content: content.decode("utf-8", "replace")),
        st.builds(lambda a, b: a + b, st.sampled_from(["array:", "arrays:"]), JSON.map(json.dumps)),
        st.sampled_from(FRAGMENTS).map(lambda content: content.decode("latin-1")),
    )
)
@effort(500)
def test_text_of_values(text: str) -> None:
    try:
        value = from_text(text)
    except CheckpointError as error:
        assert "restore an older checkpoint" in str(error)
    else:
        assert not (isinstance(value, np.ndarray) and value.dtype.hasobject)
