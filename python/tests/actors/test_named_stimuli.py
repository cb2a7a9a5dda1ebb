"""Stimuli with names of their own: each is lived once, however often it comes and in whatever chunk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from actor_processes import Here, answer, assert_same, fail_once, state_of, there

from cognitive_actors import Durability, PopulationActor
from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.roster import Chunk
from cognitive_actors.files.store import StoreUnavailable

pytestmark = pytest.mark.usefixtures("embedded_ray")
SETTINGS = CycleSettings(alpha=2.0, seed=5)


@pytest.fixture(params=["durable", "not durable"])
def at(request: pytest.FixtureRequest, tmp_path: Path) -> Durability | None:
    return Durability(str(tmp_path / "store"), "agents") if request.param == "durable" else None


def chunk(*stimuli: tuple[str, int]) -> Chunk:
    """Of an agent each, and an outcome of the first modality."""
    observations = np.full((len(stimuli), 4), -1, dtype=np.int64)
    observations[:, 0] = [outcome for _, outcome in stimuli]
    return Chunk(
        [agent for agent, _ in stimuli], np.full(len(stimuli), np.nan), observations, np.zeros((len(stimuli), 5))
    )


def assert_rows(found: dict[str, np.ndarray], rows: list[int], other: dict[str, np.ndarray], others: list[int]) -> None:
    assert found.keys() == other.keys()
    for name, x in found.items():
        np.testing.assert_array_equal(x[rows], other[name][others], err_msg=name)


def test_a_stimulus_that_comes_again_in_another_chunk(model: GenerativeModel, at: Durability | None) -> None:
    actor, twin = (Here(PopulationActor, model, SETTINGS, durability=x) for x in (at, None))
    first = chunk(("a", 0), ("b", 1), ("a", 2))
    lived, refused = answer(actor.process_each.remote(first, ["1", None, "2"], request="first"))
    assert refused == {}
    assert_rows(lived, [0, 1, 2], answer(twin.process.remote(first)), [0, 1, 2])
    # The second is new, the first and the last are not.
    then, refused = answer(
        actor.process_each.remote(chunk(("a", 2), ("b", 3), ("a", 0)), ["2", "3", "1"], request="second")
    )
    assert refused == {}
    assert_rows(then, [0, 2], lived, [2, 0])
    assert_rows(then, [1], answer(twin.process.remote(chunk(("b", 3)))), [0])
    assert_same(state_of(actor), state_of(twin))
    known, refused = answer(actor.process_each.remote(chunk(("a", 0)), ["1"], request="third"))
    assert_rows(known, [0], lived, [0])
    assert_same(state_of(actor), state_of(twin))


def test_a_name_twice_in_one_chunk_is_one_stimulus(model: GenerativeModel, at: Durability | None) -> None:
    actor, twin = (Here(PopulationActor, model, SETTINGS, durability=x) for x in (at, None))
    found, refused = answer(
        actor.process_each.remote(chunk(("a", 0), ("a", 0), ("a", 1)), ["1", "1", "1"], request="first")
    )
    once = answer(twin.process.remote(chunk(("a", 0))))
    assert_rows(found, [0], once, [0])
    assert_rows(found, [1], once, [0])
    assert list(refused) == [2]
    assert "'1' was the name of another stimulus; give each a name of its own" in refused[2]
    assert_same(state_of(actor), state_of(twin))
    for other in (("a", 1), ("b", 0)):
        _, refused = answer(actor.process_each.remote(chunk(other), ["1"], request=f"again {other}"))
        assert list(refused) == [0]
    assert_same(state_of(actor), state_of(twin))


def test_a_chunk_that_comes_again_whole(model: GenerativeModel, at: Durability | None) -> None:
    """As Ray sends it again: also the stimuli without names are not lived again."""
    actor = Here(PopulationActor, model, SETTINGS, durability=at)
    stimuli = chunk(("a", 0), ("b", 1), ("a", 2), ("c", 2))
    answer(actor.process_each.remote(chunk(("a", 0)), ["1"], request="before"))
    arguments = (stimuli, ["1", None, "2", None])
    lived, _ = answer(actor.process_each.remote(*arguments, request="first"))
    state = state_of(actor)
    again, refused = answer(actor.process_each.remote(*arguments, request="first"))
    assert refused == {}
    assert_same(again, lived)
    assert_same(state_of(actor), state)


def test_a_late_stimulus_stays_late(model: GenerativeModel, at: Durability | None) -> None:
    actor = Here(PopulationActor, model, SETTINGS, durability=at)
    now, before = (replace(chunk(("a", 0)), time=np.array([seconds])) for seconds in (5.0, 1.0))
    answer(actor.process_each.remote(now, ["1"], request="now"))
    for request in ("late", "again"):
        found, refused = answer(actor.process_each.remote(before, ["2"], request=request))
        assert refused == {}
        assert found["late"].tolist() == [True]


def test_names_for_each_or_none(model: GenerativeModel) -> None:
    actor = Here(PopulationActor, model, SETTINGS)
    with pytest.raises(ValueError, match="1 names for 2 stimuli; write one for each, or None"):
        actor.process_each.remote(chunk(("a", 0), ("b", 0)), ["1"], request="first")


def test_an_answer_that_found_no_room(model: GenerativeModel, tmp_path: Path) -> None:
    at = Durability(str(tmp_path / "store"), "agents", room=1000)
    actor = Here(PopulationActor, model, SETTINGS, durability=at)
    for number in range(4):
        answer(actor.process_each.remote(chunk(("a", 0)), [str(number)], request=f"chunk {number}"))
    state = state_of(actor)
    _, refused = answer(actor.process_each.remote(chunk(("a", 0)), ["0"], request="again"))
    assert refused == {0: "'0' has been lived, and its answer is no longer kept; look at the agent"}
    assert_same(state_of(actor), state)


@pytest.mark.parametrize("how", ["kill", "raise"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_or_cut_off_while_it_saves(model: GenerativeModel, tmp_path: Path, when: str, how: str) -> None:
    at: Any = Durability(str(tmp_path / "store"), "agents")
    actor = (there if how == "kill" else Here)(PopulationActor, model, SETTINGS, durability=at)
    twin = Here(PopulationActor, model, SETTINGS)
    stimuli, names = chunk(("a", 0), ("b", 1), ("a", 2)), ["1", None, "2"]
    answer(actor.process_each.remote(chunk(("a", 0)), ["0"], request="before"))
    answer(twin.process.remote(chunk(("a", 0))))
    fail_once(actor, when, how)
    if how == "raise":
        with pytest.raises(StoreUnavailable):
            answer(actor.process_each.remote(stimuli, names, request="first"))
        # Whoever asks again gathers another chunk.
        stimuli, names = chunk(("a", 0), ("a", 2)), ["1", "2"]
        lived, refused = answer(actor.process_each.remote(stimuli, names, request="second"))
        if when == "after":
            assert answer(actor.agent.remote("b"))["step"] == 1
            return
        expected = answer(twin.process.remote(stimuli))
    else:
        lived, refused = answer(actor.process_each.remote(stimuli, names, request="first"))
        expected = answer(twin.process.remote(stimuli))
    assert refused == {}
    assert_same(dict(sorted(lived.items())), dict(sorted(expected.items())))
    assert_same(state_of(actor), state_of(twin))
