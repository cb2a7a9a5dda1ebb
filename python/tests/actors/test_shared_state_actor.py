"""The owner of the shared state: versions that never go back, changes that are made once, and room that is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from actor_processes import Here, answer, fail_once, kill, process_of, there

from cognitive_actors.actors.durability import Durability
from cognitive_actors.actors.shared_state import (
    HistoryGone,
    OtherChange,
    Room,
    SharedStateActor,
    StateConflict,
    StateFull,
    StateMissing,
)

pytestmark = pytest.mark.usefixtures("embedded_ray")


@pytest.fixture
def at(tmp_path: Path) -> Durability:
    return Durability(str(tmp_path / "store"), "state")


@pytest.fixture(params=["durable", "not durable"])
def state(request: pytest.FixtureRequest, at: Durability) -> Any:
    """The actor's object in this process."""
    return Here(SharedStateActor, at if request.param == "durable" else None, Room(keys=3, characters=20)).object


def test_versions_go_on_over_a_death(at: Durability) -> None:
    actor = there(SharedStateActor, at)
    first = answer(actor.change.remote({"a": "1", "b": "2"}))
    kill(actor)
    second = answer(actor.change.remote({"c": "3"}, ["a"], request="once"))
    kill(actor)
    assert answer(actor.change.remote({"c": "3"}, ["a"], request="once")) == second
    found = answer(actor.read.remote(since=first["version"]))
    assert (first["version"], second["version"], found["version"]) == (1, 2, 2)
    assert first["epoch"] == second["epoch"] == found["epoch"] and found["tag"] == second["tag"]
    assert (found["entries"], found["deleted"]) == ({"c": ["3", 2]}, ["a"])
    assert answer(actor.read.remote())["entries"] == {"b": ["2", 1], "c": ["3", 2]}


def test_a_change_that_was_stored_and_not_answered_is_made_once(at: Durability) -> None:
    actor = there(SharedStateActor, at)
    pid = process_of(actor)
    fail_once(actor, "after", "kill")
    # Ray sends it again: a second change would be of version 2, and would not find the state of version 0.
    tag = answer(actor.read.remote())["tag"]
    assert answer(actor.change.remote({"a": "1"}, match=[tag]))["version"] == 1
    assert process_of(actor) != pid


def test_without_a_store_a_death_begins_another_epoch() -> None:
    actor = there(SharedStateActor)
    before = answer(actor.change.remote({"a": "1"}))
    assert not answer(actor.ready.remote())["restarted"]
    kill(actor)
    after = answer(actor.read.remote())
    assert (after["version"], after["entries"]) == (0, {}) and after["epoch"] != before["epoch"]
    assert answer(actor.ready.remote())["restarted"]
    with pytest.raises(StateConflict):
        answer(actor.change.remote({"a": "2"}, match=[before["tag"]]))
    with pytest.raises(HistoryGone):
        answer(actor.read.remote(since=0, epoch=before["epoch"]))


def test_a_request_is_applied_once(state: Any) -> None:
    first = state.change({"a": "1"}, key="a", unless=["*"], request="r")
    state.change({"a": "2"}, request="s")
    assert state.change({"a": "1"}, key="a", unless=["*"], request="r") == first
    assert state.read()["entries"] == {"a": ["2", 2]}
    with pytest.raises(OtherChange):
        state.change({"a": "3"}, request="r")
    assert state.read()["entries"] == {"a": ["2", 2]}


def test_a_refused_change_has_changed_nothing_and_may_come_again(state: Any) -> None:
    tag = state.change({"a": "1"}, key="a")["tag"]
    for refused, options in (
        (StateConflict, {"match": ["other"]}),
        (StateConflict, {"key": "z", "match": ["*"]}),
        (StateConflict, {"key": "a", "match": [state.read()["epoch"]]}),
        (StateConflict, {"key": "a", "unless": ["*"]}),
        (StateConflict, {"unless": [tag]}),
    ):
        with pytest.raises(refused):
            state.change({"b": "1"}, ["a"], request="again", **options)
    with pytest.raises(StateMissing):
        state.change({"b": "1"}, ["z"], key="z")
    assert state.read()["entries"] == {"a": ["1", 1]} and state.read()["version"] == 1
    assert state.change({"a": "2"}, key="a", match=["x", tag], request="again")["version"] == 2


def test_there_is_room_for_so_much(state: Any) -> None:
    state.change({name: "1" for name in "abc"})
    with pytest.raises(StateFull, match="4 keys"):
        state.change({"d": "1"})
    with pytest.raises(StateFull, match="21 characters"):
        state.change({"a": "x" * 19})
    assert state.read()["version"] == 1
    assert state.change({"d": "x" * 18}, ["a"])["version"] == 2
