"""Models on disk: what comes back is what was saved, and nothing but data is ever read."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitive_actors.core.model import Factor, GenerativeModel, Modality
from cognitive_actors.files import ModelError, load_model, save_model
from cognitive_actors.files.models import COUNT_FLOOR
from cognitive_actors.files.npz import NpzError, read_npz

TEXT = """\
version: 1
name: weather
horizon: 2
factors:
  - name: weather
    states: [dry, wet]
    initial: [0.75, 0.25]
    transitions:
      - [0.8, 0.2]
      - [0.4, 0.6]
  - name: carrying
    states: [umbrella, nothing]
    transitions:
      take: [[1, 0], [1, 0]]
      keep: stay
modalities:
  - name: comfort
    outcomes: [good, heavy, soaked]
    depends_on: [carrying, weather]
    likelihood:
      - [[0.0, 1.0, 0.0], [0.9, 0.0, 0.1]]
      - [[1.0, 0.0, 0.0], [0.2, 0.0, 0.8]]
    preferences: {heavy: -1, soaked: -4e0}
    social: true
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The model above in a file."""
    path = tmp_path / "model.yaml"
    path.write_text(TEXT)
    return path


@st.composite
def models(draw: st.DrawFn) -> GenerativeModel:
    """Any model: names of any characters, one or several agents, with and without what is optional."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    agents = draw(st.sampled_from([1, 1, 3]))

    # Texts that YAML would take for something else, besides any others.
    texts = st.sampled_from(["1e5", "0E0", "yes", "null", "1_0", "2012-01-01", "<<", "=", "~", "stay", "1:30"])

    def names(n: int) -> tuple[str, ...]:
        name = texts | st.text(min_size=1, max_size=6)
        return tuple(draw(st.lists(name, min_size=n, max_size=n, unique=True)))

    def distribution(*shape: int) -> np.ndarray:
        x = rng.gamma(0.3, size=(agents, *shape)) + 1e-12
        return np.asarray(x / x.sum(axis=1, keepdims=True))

    labels = names(draw(st.integers(1, 3)))
    factors = [
        Factor(
            label,
            names(draw(st.integers(1, 3))),
            draw(st.sampled_from([("none",), names(1), names(2)])),
        )
        for label in labels
    ]
    modalities = [
        Modality(
            label,
            names(draw(st.integers(1, 3))),
            tuple(draw(st.lists(st.sampled_from(range(len(factors))), min_size=1, unique=True))),
            draw(st.booleans()),
        )
        for label in names(draw(st.integers(1, 3)))
    ]
    horizon = draw(st.integers(1, 2))
    A = [distribution(len(m.outcomes), *(len(factors[f].states) for f in m.factors)) for m in modalities]
    B = [distribution(len(f.states), len(f.states), len(f.actions)) for f in factors]
    D = [distribution(len(f.states)) for f in factors]
    policies = int(np.prod([len(f.actions) for f in factors])) ** horizon
    steps = draw(st.sampled_from([1, horizon]))
    counted = draw(st.booleans())
    return GenerativeModel.from_arrays(
        A,
        B,
        [rng.normal(scale=5, size=(agents, steps, len(m.outcomes))) for m in modalities],
        draw(st.sampled_from([None, D])),
        draw(st.sampled_from([None, distribution(policies)])),
        factors=factors,
        modalities=modalities,
        horizon=horizon,
        pA=[a * 7 + 0.1 for a in A] if counted else None,
        pB=[b + 1e-9 for b in B] if counted else None,
        pD=[d * 3 + 0.5 for d in D] if draw(st.booleans()) else None,
        batched=True,
        name=names(1)[0],
        dtype=draw(st.sampled_from([torch.float32, torch.float64])),
    )


@given(model=models(), suffix=st.sampled_from([".yaml", ".npz"]))
@settings(max_examples=60)
def test_what_is_loaded_is_what_was_saved(
    tmp_path_factory: pytest.TempPathFactory, model: GenerativeModel, suffix: str
) -> None:
    path = tmp_path_factory.mktemp("models") / f"model{suffix}"
    if suffix == ".yaml" and not model.shared:
        with pytest.raises(ModelError, match=r"save it as \.npz"):
            save_model(model, path)
        assert not path.exists()
        return
    save_model(model, path)
    loaded = load_model(path, dtype=model.dtype)
    assert (loaded.factors, loaded.modalities, loaded.horizon) == (model.factors, model.modalities, model.horizon)
    assert loaded.name == model.name
    saved = model.tensors()
    assert loaded.tensors().keys() == saved.keys()
    for name, x in loaded.tensors().items():
        # Defaults that are left out come back shared by all agents.
        assert torch.equal(x.expand_as(saved[name]), saved[name]), name


def test_yaml_rows_are_previous_states(written: Path) -> None:
    model = load_model(written, dtype=torch.float64)
    assert model.factors[1] == Factor("carrying", ("umbrella", "nothing"), ("take", "keep"))
    assert model.modalities[0] == Modality("comfort", ("good", "heavy", "soaked"), (1, 0), social=True)
    # P(wet tomorrow | dry today), P(umbrella | nothing, take), P(nothing | nothing, keep), P(soaked | nothing, wet)
    assert model.B[0][0, 1, 0, 0] == 0.2
    assert model.B[1][0, 0, 1, 0] == 1
    assert model.B[1][0, 1, 1, 1] == 1
    assert model.A[0][0, 2, 1, 1] == 0.8
    relative = model.C[0][0, 0] - model.C[0][0, 0, 0]
    np.testing.assert_allclose(relative, [0, -1, -4], atol=1e-15)
    assert model.pA is None and model.pB is None and model.pD is None


def test_concentration_gives_counts_with_a_floor(written: Path) -> None:
    written.write_text(TEXT + "concentration: {likelihood: 10}\n")
    model = load_model(written)
    assert model.pA is not None and model.pB is None
    torch.testing.assert_close(model.pA[0], (model.A[0] * 10).clamp(min=COUNT_FLOOR), rtol=0, atol=0)


def test_counts_are_shaped_as_the_probabilities(written: Path) -> None:
    written.write_text(
        TEXT + "counts: {transitions: {weather: [[8, 2], [4, 6]], carrying: {take: [[9, 1], [9, 1]], "
        "keep: [[5, 4], [3, 2]]}}, initial: {weather: [3, 1], carrying: [1, 1]}}\n"
    )
    model = load_model(written)
    assert model.pA is None and model.pB is not None and model.pD is not None
    assert model.pB[0][0, 1, 0, 0] == 2
    assert model.pB[1][0, 1, 0, 1] == 4
    assert model.pD[0].tolist() == [[3, 1]]


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        (
            "[0.8, 0.2]",
            "[0.8, 0.3]",
            ["line 9", "factors[0] ('weather').transitions[0]", "sums to 1.1", "write 2 prob"],
        ),
        ("[0.8, 0.2]", "[0.8, 0.1, 0.1]", ["transitions[0]: 3 entries; write 2, one per next state of 'weather'"]),
        ("      - [0.8, 0.2]\n", "", ["transitions: 1 entry; write 2, one per previous state"]),
        ("[0.8, 0.2]", "[1.2, -0.2]", ["transitions[0][0]: 1.2; write a probability between 0 and 1"]),
        ("[0.8, 0.2]", "[.nan, 0.2]", ["transitions[0][0]: nan; write a finite number"]),
        ("[0.8, 0.2]", "[yes, 0.2]", ["transitions[0][0]: true; write a number"]),
        ("[dry, wet]", "[on, off]", ["states[0]: true is not a text", "in quotes"]),
        ("[dry, wet]", "[dry, dry]", ["states[1]: 'dry' is there twice"]),
        ("keep: stay", "keep: sty", ["transitions.keep", "did you mean 'stay'?"]),
        ("keep: stay", "keep: [[1, 0]]", ["transitions.keep: 1 entry; write 2"]),
        ("depends_on: [carrying, weather]", "depends_on: [carrying, wether]", ["did you mean 'weather'?"]),
        (
            "depends_on: [carrying, weather]",
            "depend_on: [weather]",
            ["line 19: modalities[0] ('comfort').depend_on: unknown key; did you mean 'depends_on'?"],
        ),
        (
            "depends_on: [carrying, weather]",
            "depends_on: [weather]",
            ["line 21", "likelihood[0]: 2 entries; write 3, one per outcome of 'comfort'"],
        ),
        (
            "soaked: -4e0",
            "soked: -4",
            ["modalities[0] ('comfort').preferences.soked: unknown key; did you mean 'soaked'?"],
        ),
        ("{heavy: -1, soaked: -4e0}", "[0, -1]", ["preferences: 2 entries; write 3, one per outcome of 'comfort'"]),
        ("{heavy: -1, soaked: -4e0}", "[[0, -1, 0]]", ["1 entry; write 2, one per step of the horizon"]),
        ("social: true", "social: 1", ["social: 1; write true or false"]),
        ("horizon: 2", "horizon: 2.5", ["line 3: horizon: 2.5; write a whole number"]),
        ("horizon: 2", "horizon: 60", ["2 actions over a horizon of 60 steps", "shorter horizon"]),
        ("horizon: 2", "habits: [1]", ["habits: 1 entry; write 2, one per policy"]),
        ("horizon: 2", "concentration: 0", ["concentration: 0; write a number greater than zero"]),
        ("horizon: 2", "counts: {initial: {weather: [1, 1]}}", ["counts.initial: the key 'carrying' is missing"]),
        ("horizon: 2", "horizon: 2\nhorizon: 3", ["line 4", "'horizon' is there twice"]),
        ("version: 1", "version: 2", ["line 1: version: 2; write 1"]),
        ("version: 1\n", "", ["the key 'version' is missing"]),
        ("    outcomes: [good, heavy, soaked]\n", "", ["modalities[0] ('comfort'): the key 'outcomes' is missing"]),
        ("name: weather\nh", "name: !!python/object/apply:os.getcwd []\nh", ["line 2", "python/object"]),
        ("name: weather\nh", "name: [&a x, *a]\nh", ["line 2", "alias (*a)", "write the value out"]),
        ("name: weather\nh", "<<: {name: x}\nh", ["'<<'"]),
        ("name: weather\nh", "name: " + "[" * 5000 + "\nh", ["nested more than 32 deep"]),
        ("name: weather\nh", "name: 'x\nh", ["not YAML"]),
    ],
)
def test_errors_name_place_and_remedy(written: Path, wrong: str, right: str, said: list[str]) -> None:
    assert wrong in TEXT
    written.write_text(TEXT.replace(wrong, right, 1))
    with pytest.raises(ModelError) as error:
        load_model(written)
    for words in [str(written), *said]:
        assert words in str(error.value)


def test_alias_bomb_is_refused(written: Path) -> None:
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    written.write_text("a0: &a0 [1, 1]\n" + levels)
    with pytest.raises(ModelError, match="alias"):
        load_model(written)


class Trap:
    """An object that would leave a file behind if it were ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["model.pkl", "model.pt", "model.npz", "model.yaml", "objects.npz"])
def test_pickles_are_never_loaded(tmp_path: Path, name: str) -> None:
    path, sprung = tmp_path / name, tmp_path / "sprung"
    if name == "objects.npz":
        np.savez(path, A_0=np.array([Trap(sprung)], dtype=object), meta=np.array("{}"))
    else:
        path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(ModelError, match=r"model|NPZ|YAML") as error:
        load_model(path)
    assert str(path) in str(error.value)
    assert not sprung.exists()


def test_large_files_are_refused_unread(tmp_path: Path, model: GenerativeModel) -> None:
    path = tmp_path / "model.npz"
    with open(path, "wb") as file:
        file.truncate(257 << 20)
    with pytest.raises(ModelError, match="at most 256 MB"):
        load_model(path)
    np.savez_compressed(path, zeros=np.zeros(1 << 20))
    assert path.stat().st_size < 1 << 14
    with pytest.raises(NpzError, match="more than 1 MB"):
        read_npz(path, 1 << 20)


def test_npz_can_be_written_with_numpy_alone(tmp_path: Path) -> None:
    meta = {
        "format": "cognitive-actors model",
        "version": 1,
        "factors": [{"name": "s", "states": ["a", "b"], "actions": ["none"]}],
        "modalities": [{"name": "o", "outcomes": ["x", "y"], "depends_on": ["s"]}],
    }
    A, B = np.eye(2)[None], np.eye(2)[None, :, :, None]
    np.savez(tmp_path / "model.npz", meta=np.array(json.dumps(meta)), A_0=A, B_0=B)
    assert load_model(tmp_path / "model.npz").num_policies == 1

    for broken, said in [
        ({"A_0": A, "B_0": B, "A_1": A}, "unknown array 'A_1'"),
        ({"A_0": A}, "array 'B_0' is missing"),
        ({"A_0": A * 2, "B_0": B}, r"A\[0\] \('o'\).*sums to 2"),
        ({"A_0": np.tile(A, (2, 1, 1)), "B_0": np.tile(B, (3, 1, 1, 1))}, "batch axes of different lengths"),
    ]:
        np.savez(tmp_path / "model.npz", allow_pickle=False, meta=np.array(json.dumps(meta)), **broken)
        with pytest.raises(ModelError, match=f"model.npz: .*{said}"):
            load_model(tmp_path / "model.npz")


@pytest.mark.parametrize("name", ["missing.yaml", "missing.npz", "folder.yaml", "model.txt", "model"])
def test_unreadable_files_are_named(tmp_path: Path, name: str) -> None:
    if name == "folder.yaml":
        (tmp_path / name).mkdir()
    with pytest.raises(ModelError, match=rf"{name}: .*\.npz"):
        load_model(tmp_path / name)


def test_names_that_could_not_be_read_back_are_not_written(tmp_path: Path, model: GenerativeModel) -> None:
    twice = GenerativeModel.from_arrays(
        [np.eye(2)],
        [np.eye(2)[:, :, None]],
        factors=[Factor("s", ("a", "a"))],
        modalities=[Modality("o", ("x", "y"), (0,))],
    )
    with pytest.raises(ModelError, match="states of factor 's'"):
        save_model(twice, tmp_path / "model.yaml")
