"""The actor that remembers routes, by itself: each agent has its own, decisions are made once, and nothing is lost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from actor_processes import Here, answer, fail_once, inside

from cognitive_actors.actors.durability import Durability
from cognitive_actors.actors.routes import RoutesActor
from cognitive_actors.core.routing import RoutingParameters
from cognitive_actors.files.store import StoreUnavailable


def nats(share: float) -> float:
    """The surprise of a share of full surprise."""
    return -math.log1p(-share)


def routed(actor: Any, agent: str, share: float, **options: Any) -> str:
    return str(answer(actor.decide.remote(agent, nats(share), **options))["route"])


def test_each_agent_has_a_route_and_hysteresis_of_its_own() -> None:
    actor = Here(RoutesActor)
    assert [routed(actor, "a", share) for share in (0.1, 0.36, 0.39, 0.36)] == ["fast", "fast", "planned", "planned"]
    assert [routed(actor, "b", share) for share in (0.7, 0.58, 0.56, 0.58)] == ["escalated"] * 2 + ["planned"] * 2
    assert [routed(actor, agent, 0.36) for agent in "abc"] == ["planned"] * 3
    assert [answer(actor.route.remote(agent)) for agent in "abcd"] == ["planned"] * 3 + [None]


def test_a_decision_is_told_in_full() -> None:
    actor = Here(RoutesActor)
    found = answer(actor.decide.remote("a", nats(0.5)))
    assert found.keys() == {"route", "surprise", "share"}
    assert math.isclose(found["share"], 0.5) and found["surprise"] == nats(0.5) and found["route"] == "planned"
    impossible = {"route": "escalated", "surprise": None, "share": 1.0}
    assert answer(actor.decide.remote("a", math.inf)) == impossible
    with pytest.raises(ValueError, match="write nats of 0 or more"):
        actor.decide.remote("a", math.nan)
    with pytest.raises(ValueError, match="agents is 0; write 1 or more"):
        Here(RoutesActor, 0)


@pytest.mark.parametrize("durable", [True, False])
def test_a_request_is_decided_once(tmp_path: Path, durable: bool) -> None:
    at = Durability(str(tmp_path / "store"), "routes") if durable else None
    actor = Here(RoutesActor, durability=at)
    first = answer(actor.decide.remote("a", nats(0.7), request="one"))
    assert routed(actor, "a", 0.1) == "fast"
    assert answer(actor.decide.remote("a", nats(0.1), request="one")) == first
    # It has not brought the agent back to where it was, either.
    assert answer(actor.route.remote("a")) == "fast" and routed(actor, "a", 0.58) == "planned"


def test_other_limits_count_at_once_and_the_routes_stay() -> None:
    actor = Here(RoutesActor)
    assert routed(actor, "a", 0.2) == "fast"
    assert routed(actor, "a", 0.28, limits=RoutingParameters(fast_below=0.25, fast_until=0.3)) == "fast"
    assert routed(actor, "b", 0.28, limits=RoutingParameters(fast_below=0.25, fast_until=0.3)) == "planned"
    assert routed(actor, "b", 0.28) == "fast"


def test_the_least_recently_used_agent_is_forgotten() -> None:
    actor = Here(RoutesActor, 2)
    for agent in "abac":
        routed(actor, agent, 0.1)
    assert [answer(actor.route.remote(agent)) for agent in "abc"] == ["fast", None, "fast"]
    assert answer(actor.status.remote()) == {"routed": 2, "agents": 2, "forgotten": 1}


def test_routes_are_resumed_and_fewer_are_kept_than_were_stored(tmp_path: Path) -> None:
    at = Durability(str(tmp_path / "store"), "routes")
    actor = Here(RoutesActor, durability=at)
    for agent, share in (("ä", 0.1), ("b", 0.5), ("c", 0.7)):
        routed(actor, agent, share, request=agent)
    again = Here(RoutesActor, durability=at)
    assert [answer(again.route.remote(agent)) for agent in "äbc"] == ["fast", "planned", "escalated"]
    assert routed(again, "ä", 0.9, request="ä") == "fast"
    fewer = Here(RoutesActor, 1, durability=at)
    assert answer(fewer.status.remote()) == {"routed": 1, "agents": 1, "forgotten": 2}
    assert routed(fewer, "c", 0.58) == "escalated"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_decision_that_could_not_be_saved_is_none(tmp_path: Path, when: str) -> None:
    actor = Here(RoutesActor, durability=Durability(str(tmp_path / "store"), "routes"))
    assert routed(actor, "a", 0.1) == "fast"
    fail_once(actor, when, "raise")
    with pytest.raises(StoreUnavailable):
        actor.decide.remote("a", nats(0.7), request="one")
    assert inside(actor, lambda self: self.route("a")) == "fast"
    # Where it had been stored all the same, the answer is that of the first time.
    expected = "escalated"
    assert routed(actor, "a", 0.7, request="one") == expected == answer(actor.route.remote("a"))
