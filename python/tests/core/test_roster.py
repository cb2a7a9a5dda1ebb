"""The roster: what a chunk comes to does not depend on how stimuli are cut into chunks or agents over rosters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitive_actors.core.cycle import CognitiveCycle, CycleSettings
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.modulator_parameters import GUIDE
from cognitive_actors.core.roster import Chunk, Roster, pack_names, unpack_names, waves

NAN = float("nan")


def stimuli(n: int, agents: int, seed: int = 0) -> Chunk:
    """n stimuli of the umbrella model for some agents; a third without a time, a quarter with an impulse."""
    random = np.random.default_rng(seed)
    names = [f"a{i}" for i in random.integers(agents, size=n)]
    time = np.where(random.random(n) < 0.3, NAN, np.arange(n) * 1.5)
    observations = np.stack([random.integers(-1, k, size=n) for k in (5, 3, 3, 3)], axis=1)
    observations[:, 0] = np.maximum(observations[:, 0], 0)
    delta = random.normal(scale=0.4, size=(n, 5)) * (random.random((n, 1)) < 0.25)
    return Chunk(names, time, observations, delta)


def part(chunk: Chunk, where: np.ndarray) -> Chunk:
    return Chunk([chunk.names[i] for i in where], chunk.time[where], chunk.observations[where], chunk.delta[where])


def roster(model: GenerativeModel, **changes: object) -> Roster:
    return Roster(CognitiveCycle(model, CycleSettings(**changes)))  # type: ignore[arg-type]


def process(chunk: Chunk, model: GenerativeModel, cuts: list[int], **changes: object) -> dict[str, np.ndarray]:
    """Run a chunk cut at some positions through one roster."""
    one = roster(model, **changes)
    parts = [one.process(part(chunk, where)) for where in np.split(np.arange(len(chunk.names)), cuts)]
    return {name: np.concatenate([p[name] for p in parts if len(p["late"])]) for name in parts[-1]}


def assert_equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, x in a.items():
        if x.dtype.kind == "f":
            # Sums of float32 in batches of other sizes round differently, and the mind goes on from there.
            assert np.allclose(x, b[name], atol=1e-5, rtol=1e-5, equal_nan=True), name
        else:
            assert np.array_equal(x, b[name]), name


@given(st.lists(st.integers(0, 6), max_size=40))
def test_waves_keep_every_agents_order(rows: list[int]) -> None:
    cut = waves(np.array(rows, dtype=np.int64))
    assert sorted(int(i) for wave in cut for i in wave) == list(range(len(rows)))
    for row in set(rows):
        order = [int(i) for wave in cut for i in wave if rows[i] == row]
        assert order == sorted(order)
    for wave in cut:
        assert sorted({rows[i] for i in wave}) == [rows[i] for i in wave]
    assert len(cut) == max((rows.count(r) for r in set(rows)), default=0)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True, max_size=20))
def test_names_keep_every_character(names: list[str]) -> None:
    assert unpack_names(pack_names(names)) == names


def test_names_that_do_not_fit_are_refused() -> None:
    packed = pack_names(["a", "b\0"])
    assert unpack_names(packed) == ["a", "b\0"]
    with pytest.raises(ValueError, match="stored names take 3 bytes"):
        unpack_names({**packed, "name_lengths": packed["name_lengths"][:1]})


@pytest.mark.parametrize("changes", [{}, {"alpha": 2.0, "seed": 5}, {"modulators": GUIDE}], ids=str)
def test_chunks_may_be_cut_anywhere(model: GenerativeModel, changes: dict[str, object]) -> None:
    chunk = stimuli(60, agents=7)
    whole = process(chunk, model, [], **changes)
    assert_equal(whole, process(chunk, model, [1, 17, 18, 41], **changes))
    assert_equal(whole, process(chunk, model, list(range(1, 60)), **changes))


def test_agents_may_live_anywhere(model: GenerativeModel) -> None:
    chunk = stimuli(60, agents=7)
    whole = process(chunk, model, [], alpha=1.0)
    here = np.array([name in ("a0", "a3") for name in chunk.names])
    for mine in (here, ~here):
        where = np.flatnonzero(mine)
        alone = process(part(chunk, where), model, [], alpha=1.0)
        assert_equal({name: x[where] for name, x in whole.items()}, alone)


def test_a_restored_roster_goes_on_to_the_bit(model: GenerativeModel) -> None:
    first, second = stimuli(40, agents=6), stimuli(40, agents=9, seed=1)
    second = Chunk(second.names, second.time + 100, second.observations, second.delta)
    original, restored = roster(model), roster(model)
    original.process(first)
    restored.restore(original.snapshot())
    assert len(restored) == len(original) == 6
    a, b = original.process(second), restored.process(second)
    assert all(np.array_equal(a[name], b[name]) for name in a)
    with pytest.raises(ValueError, match="names for 6 agents"):
        roster(model).restore({**original.snapshot(), **pack_names(["x"]), **first_six(original)})


def first_six(one: Roster) -> dict[str, np.ndarray]:
    return {name: x[:6] for name, x in one.snapshot().items() if name not in ("names", "name_lengths")}


def test_late_stimuli_are_marked_and_change_nothing(model: GenerativeModel) -> None:
    chunk = stimuli(6, agents=1)
    punctual = Chunk(["a"] * 6, np.arange(6.0), chunk.observations, chunk.delta)
    late = Chunk(
        ["a"] * 8,
        np.array([0, 1, 2, 1.5, 3, 4, -1, 5]),
        chunk.observations[[0, 1, 2, 2, 3, 4, 4, 5]],
        chunk.delta[[0, 1, 2, 2, 3, 4, 4, 5]],
    )
    expected, columns = roster(model).process(punctual), roster(model).process(late)
    assert np.flatnonzero(columns["late"]).tolist() == [3, 6]
    assert_equal(expected, {name: np.delete(x, [3, 6], axis=0) for name, x in columns.items()})


@pytest.mark.parametrize("start", [0.0, -1e9, 1.7e9, 1e15])
@pytest.mark.parametrize("time_scale", [1.0, 0.001, 3.7])
def test_rounding_is_not_a_clock_that_runs_backwards(model: GenerativeModel, start: float, time_scale: float) -> None:
    observed = stimuli(50, agents=1)
    for step in (0.0, 0.1, 86400.0):
        chunk = Chunk(["a"] * 50, start + np.arange(50) * step, observed.observations, observed.delta)
        columns = roster(model, time_scale=time_scale).process(chunk)
        assert not columns["late"].any()
        assert all(np.isfinite(x).all() for x in columns.values())


def test_an_agent_joins_at_its_first_stimulus(model: GenerativeModel) -> None:
    chunk = stimuli(3, agents=1)
    times = np.array([1e6, 1e6 + 1, NAN])
    columns = roster(model).process(Chunk(["a"] * 3, times, chunk.observations[[0, 0, 0]], np.zeros((3, 5))))
    assert columns["time"].tolist() == [1e6, 1e6 + 1, 1e6 + 2]
    untimed = roster(model).process(Chunk(["a"] * 3, np.full(3, NAN), chunk.observations[[0, 0, 0]], np.zeros((3, 5))))
    assert untimed["time"].tolist() == [0, 1, 2]
    assert np.allclose(untimed["levels"], columns["levels"], atol=1e-9)


def test_agents_share_one_model(examples: Path, model: GenerativeModel) -> None:
    several = GenerativeModel.from_arrays(
        A=[np.full((2, 2, 2), 0.5)], B=[np.stack([np.eye(2)[:, :, None]] * 2)], batched=True
    )
    with pytest.raises(ValueError, match="arrays of their own for several agents"):
        roster(several)
