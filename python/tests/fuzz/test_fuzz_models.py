"""Model files of any content: a model, or an error that names the file and, where there are any, the line."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml
from effort import effort
from hypothesis import given
from hypothesis import strategies as st
from mutations import archive, array_bytes, header, mutated

from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.validation import ModelError
from cognitive_actors.files import CheckpointError, load_arrays, load_model, save_model

TEXT = """\
version: 1
name: door
horizon: 2
factors:
  - {name: door, states: [open, shut], actions: [pull, leave], transitions: {pull: [[1, 0], [0.5, 0.5]], leave: stay}}
  - name: "light"
    states: ["on", "off"]
    initial: [0.25, 0.75]
    transitions:
      - [0.9, 0.1]
      - [0.2, 0.8]
modalities:
  - name: view
    outcomes: [bright, dark, nothing]
    depends_on: [light, door]
    likelihood: [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 0, 1.0e+0]]]
    preferences: {bright: 1.5, dark: -1}
    social: yes
concentration: {likelihood: 5, transitions: 2}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def _arrays() -> dict[str, np.ndarray]:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        text, packed = Path(directory) / "x.yaml", Path(directory) / "x.npz"
        text.write_text(TEXT)
        save_model(load_model(text), packed)
        with np.load(packed) as file:
            return {name: file[name] for name in file.files}


ARRAYS = _arrays()
META = json.loads(str(ARRAYS["meta"]))


def load(path: Path, content: bytes) -> GenerativeModel | None:
    """Write and load a file. None where it was refused as it should be."""
    path.write_bytes(content)
    try:
        model = load_model(path)
    except ModelError as error:
        assert str(path) in str(error)
        str(error).encode()
        return None
    # What is accepted can be saved, and is the same model.
    save_model(model, path.with_suffix(".again.npz"))
    assert load_model(path.with_suffix(".again.npz")).name == model.name
    return model


def test_the_good_ones_are_loaded(place: Path) -> None:
    one, other = load(place / "good.yaml", TEXT.encode()), load(place / "good.npz", archive(ARRAYS))
    assert one is not None and other is not None
    assert all(np.array_equal(x, other.tensors()[name]) for name, x in one.tensors().items())


@given(content=st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@effort(200)
def test_arbitrary_bytes(place: Path, content: bytes) -> None:
    for ending in ("yaml", "npz"):
        assert load(place / f"any.{ending}", content) is None


@given(content=mutated([TEXT.encode()]))
@effort(400)
def test_altered_yaml(place: Path, content: bytes) -> None:
    load(place / "altered.yaml", content)


@given(content=mutated([archive(ARRAYS), archive(ARRAYS, zipfile.ZIP_DEFLATED)]))
@effort(300)
def test_altered_npz(place: Path, content: bytes) -> None:
    load(place / "altered.npz", content)


@given(
    name=st.sampled_from(list(ARRAYS)),
    content=mutated([array_bytes(x) for x in ARRAYS.values()]) | st.binary(max_size=200),
)
@effort(300)
def test_an_altered_array_whose_checksum_is_right(place: Path, name: str, content: bytes) -> None:
    load(place / "array.npz", archive({**ARRAYS, name: content}))


DESCRIPTIONS = ["'<f8'", "'<f4'", "'|b1'", "'|i1'", "'<c16'", "'|O'", "[('a', '|O')]", "'<U0'", "'|V0'", "'<M8[ns]'"]
DESCRIPTIONS += ["'(9,)f8'", "'(1000000000,)f8'", "'<U1000000000'", "''", "()", "None", "{'a': 1}", "'f8,f8'", "['f8']"]
SHAPES = [
    "()",
    "(0,)",
    "(1,)",
    "(-1,)",
    "(-1, -8)",
    "(True,)",
    "(10**9,)",
    "(1000000000000000000,)",
    "(0, 10000000000)",
]
SHAPES += [f"(1,{'1,' * 70})", "(9999999999999999999999999,)", "None", "'x'", "[1]", "(1.5,)", f"({'(' * 90}"]


@given(
    name=st.sampled_from(list(ARRAYS)),
    descr=st.sampled_from(DESCRIPTIONS),
    shape=st.sampled_from(SHAPES),
    order=st.sampled_from(["False", "True", "None", "2"]),
    content=st.sampled_from([b"", b"\0" * 8, b"\xff" * 64, b"cos\nsystem\n(S'true'\ntR."]),
)
@effort(300)
def test_headers_that_announce_anything(
    place: Path, name: str, descr: str, shape: str, order: str, content: bytes
) -> None:
    load(place / "header.npz", archive({**ARRAYS, name: header(descr, shape, order, content)}))


VALUES = st.one_of(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    st.sampled_from([10**400, -1, 2**64, "\ud800", "x" * 100_000, [], {}, [[]], [1, [2]], "stay", float("nan")]),
    st.lists(st.integers(-2, 9) | st.text(max_size=3), max_size=4),
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, x in inner for place in _places(x, (*path, key)))]


def _with(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


TREE = yaml.safe_load(TEXT)


@given(path=st.sampled_from(_places(TREE)), value=VALUES)
@effort(400)
def test_yaml_with_another_value(place: Path, path: tuple[Any, ...], value: Any) -> None:
    try:
        content = yaml.safe_dump(_with(TREE, path, value), allow_unicode=True).encode("utf-8", "surrogatepass")
    except (yaml.YAMLError, ValueError):
        return
    load(place / "value.yaml", content)


@given(path=st.sampled_from(_places(META)), value=VALUES)
@effort(400)
def test_npz_with_another_value(place: Path, path: tuple[Any, ...], value: Any) -> None:
    meta = np.array(json.dumps(_with(META, path, value)))
    load(place / "value.npz", archive({**ARRAYS, "meta": meta}))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("horizon: 2", 'horizon: !!int ""', r"line 3: a tag \(tag:yaml.org,2002:int\) stands here"),
        ("horizon: 2", "horizon: !!bool x", "a tag"),
        ("horizon: 2", "horizon: !!timestamp x", "a tag"),
        ("version: 1", "version: 0x" + "f" * 500, "line 1: a number with hundreds of digits"),
        ("version: 1", "version: 0x" + "f" * 300, "line 1: version: "),
        ("horizon: 2", "horizon: 1" + "0" * 390, "line 3: horizon: more than 10,000 steps"),
        ("horizon: 2", "horizon: 1" + ":59" * 133, "line 3: horizon: more than 10,000 steps"),
        (
            "horizon: 2",
            "horizon: 1" + ":59" * 120 + ".5",
            "line 3: horizon: 'inf'|not YAML that is accepted|whole number",
        ),
        ("horizon: 2", "horizon: &a 2\nname2: *a", r"line 4: an alias \(\*a\) stands here"),
        ("name: door", "name: !!python/object/apply:os.system [true]", "a tag"),
    ],
)
def test_what_was_found_in_yaml(place: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    path = place / "found.yaml"
    path.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(ModelError, match=rf"found\.yaml.*({said})"):
        load_model(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"horizon": 10**400}, "more than 10,000 steps"),
        ({"name": "\ud800"}, r"meta\.name is .* write a text"),
        ({"version": ["x" * 10**6]}, r"version .{80}; write"),
    ],
)
def test_what_was_found_in_npz(place: Path, changes: dict[str, Any], said: str) -> None:
    path = place / "found.npz"
    path.write_bytes(archive({**ARRAYS, "meta": np.array(json.dumps({**META, **changes}))}))
    with pytest.raises(ModelError, match=rf"found\.npz: .*({said})"):
        load_model(path)
    path.write_bytes(archive(ARRAYS, zipfile.ZIP_LZMA))
    with pytest.raises(ModelError, match="compressed in a way that numpy does not write"):
        load_model(path)


@pytest.mark.parametrize("order", "<>")
def test_text_that_no_character_has(place: Path, order: Literal["<", ">"]) -> None:
    path, meta = place / "text.npz", ARRAYS["meta"].astype(ARRAYS["meta"].dtype.newbyteorder(order))
    path.write_bytes(archive({**ARRAYS, "meta": meta}))
    assert load_model(path).name == "door"
    at = meta.tobytes().index("name".encode(f"utf-32-{'le' if order == '<' else 'be'}"))
    content = bytearray(meta.tobytes())
    content[at : at + 4] = b"\x7f\xff\xff\x7f"
    path.write_bytes(archive({**ARRAYS, "meta": np.frombuffer(bytes(content), dtype=meta.dtype).reshape(())}))
    with pytest.raises(ModelError, match=r"text\.npz: the JSON text in 'meta' holds what is no character"):
        load_model(path)
    with pytest.raises(CheckpointError, match="holds what is no character"):
        load_arrays(path)


def test_a_number_that_single_precision_cannot_hold(place: Path) -> None:
    path = place / "large.yaml"
    path.write_text(TEXT.replace("bright: 1.5", "bright: 3.5e+38"))
    with pytest.raises(ModelError, match=r"large\.yaml: C_0 holds a number that torch\.float32 cannot"):
        load_model(path)
    assert load_model(path, dtype=torch.float64).C[0].isfinite().all()
