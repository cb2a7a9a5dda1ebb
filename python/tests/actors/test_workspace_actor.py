"""GlobalWorkspaceActor: the guide's broadcast, with salience that comes from the inputs and the modulators."""

from __future__ import annotations

from typing import Any

import pytest
import ray
from actor_processes import heard

from cognitive_actors.actors.neurotransmitter import NeurotransmitterActor
from cognitive_actors.actors.workspace import GlobalWorkspaceActor
from cognitive_actors.core.workspace import WorkspaceParameters

pytestmark = pytest.mark.usefixtures("embedded_ray")

LOUD = {"surprise": 3.0, "relevance": 1.0, "valence": 1.0}


@ray.remote(num_cpus=0)
class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []

    def on_broadcast(self, event: dict[str, Any]) -> None:
        self.heard.append(event)

    def all(self) -> list[dict[str, Any]]:
        return self.heard


def workspace(**options: Any) -> Any:
    return GlobalWorkspaceActor.remote(**options)  # type: ignore[attr-defined]


def broadcast(actor: Any, *inputs: dict[str, Any], **options: Any) -> dict[str, Any]:
    result: dict[str, Any] = ray.get(actor.broadcast.remote(list(inputs), **options))
    return result


def test_the_guides_form() -> None:
    actor = workspace(capacity=7)
    result = broadcast(actor, {"content": "bell", **LOUD}, {"content": "hum", "surprise": 0.1})
    assert result.keys() == {"broadcast", "salience_max"}
    assert [x["content"] for x in result["broadcast"]] == ["bell"]
    assert result["salience_max"] == result["broadcast"][0]["salience"] > 0.6
    assert broadcast(actor) == {"broadcast": [], "salience_max": 0.0}


def test_capacity_and_order() -> None:
    inputs = [{"id": i, **LOUD, "relevance": 0.5 + i / 20} for i in range(10)]
    result = broadcast(workspace(capacity=3), *inputs)
    assert [x["id"] for x in result["broadcast"]] == ["9", "8", "7"]
    assert len(broadcast(workspace(), *inputs)["broadcast"]) == 7


def test_threshold_may_be_low() -> None:
    faint = {"content": "hum", "surprise": 0.2}
    assert broadcast(workspace(salience_threshold=0.05), faint)["broadcast"]
    assert not broadcast(workspace(salience_threshold=0.1), faint)["broadcast"]


def test_gains_come_from_the_neurotransmitter_actor() -> None:
    neuro = NeurotransmitterActor.remote()  # type: ignore[attr-defined]
    # A threshold above any salience here, so that nothing ignites and habituates.
    actor = workspace(neurotransmitters=neuro, salience_threshold=0.99)
    goal = {"id": "goal", "surprise": 0.5, "relevance": 0.9}
    threat = {"id": "threat", "surprise": 0.5, "valence": -1.0, "threat": True, "relevance": 0.35}

    def salience() -> list[float]:
        return [broadcast(actor, x)["salience_max"] for x in (goal, threat)]

    of_goal, of_threat = salience()
    assert of_goal > of_threat
    ray.get(neuro.apply_delta.remote({"dopamine": 0.3}))
    eager_goal, eager_threat = salience()
    assert eager_goal - eager_threat > of_goal - of_threat
    ray.get(neuro.apply_delta.remote({"dopamine": -0.3, "cortisol": 0.7}))
    stressed_goal, stressed_threat = salience()
    assert stressed_threat > stressed_goal
    # A state that is given is used instead.
    assert broadcast(actor, goal, state={"dopamine": 0.8})["salience_max"] == pytest.approx(eager_goal)


def test_every_ignition_reaches_every_subscriber_once_and_in_order() -> None:
    actor, early, late = workspace(), Listener.remote(), Listener.remote()  # type: ignore[attr-defined]
    assert ray.get(actor.subscribe.remote(early)) == 0
    ray.get(actor.subscribe.remote(early))
    for i in range(5):
        broadcast(actor, {"id": f"a{i}", **LOUD})
    assert ray.get(actor.subscribe.remote(late)) == 5
    for i in range(5):
        broadcast(actor, {"id": f"b{i}", **LOUD}, {"id": "quiet", "surprise": 0.0})
    broadcast(actor, {"id": "quiet", "surprise": 0.0})
    events = ray.get(actor.events_after.remote())
    assert [e["sequence"] for e in events] == list(range(1, 11))
    assert [[x["id"] for x in e["broadcast"]] for e in events] == [[f"{k}{i}"] for k in "ab" for i in range(5)]
    assert heard(early, 10) == events
    assert heard(late, 5) == events[5:] == ray.get(actor.events_after.remote(5))
    assert ray.get(actor.events_after.remote(10)) == []


def test_what_is_held_does_not_ignite_again() -> None:
    actor = workspace(parameters=WorkspaceParameters(eta=0.0))
    for _ in range(3):
        assert len(broadcast(actor, {"id": "bell", **LOUD})["broadcast"]) == 1
    assert len(ray.get(actor.events_after.remote())) == 1


def test_events_are_kept_for_a_while() -> None:
    actor = workspace(interval=5.0)
    ray.get([actor.broadcast.remote([{"id": i, **LOUD}]) for i in range(1100)])
    assert len(ray.get(actor.events_after.remote(1100 - 1024))) == 1024
    with pytest.raises(LookupError, match="ignitions before 77 are no longer kept; start again from 76"):
        ray.get(actor.events_after.remote(0))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([{"content": "x"}], "input 0 has nothing to be scored by; write surprise"),
        ([{"content": "x", **LOUD}, {"surprise": 1.0}], "input 1 has neither id nor content"),
        ([{"id": "x", "surprise": float("nan")}], "input 0: surprise is nan; write a finite number"),
        ([{"id": "x", "relevance": "high"}], "input 0: relevance is 'high'"),
        ([{"id": "x", "probability": 0.0}], "input 0: probability is 0.0; write a number greater than 0"),
        ([{"id": "x", **LOUD, "threat": "no"}], "input 0: threat is 'no'; write True or False"),
        ([{"id": "x", **LOUD}, {"id": "x", **LOUD}], "2 inputs have the id 'x'"),
        ([3], "input 0 is 3; write a mapping"),
        ({"id": "x"}, "inputs is a dict; write a list of mappings"),
    ],
)
def test_bad_inputs_are_named_and_change_nothing(untouched: Any, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ray.get(untouched.broadcast.remote(inputs))
    with pytest.raises(ValueError, match="state gives dopamine as 2; write a level between 0 and 1"):
        ray.get(untouched.broadcast.remote([{"id": "x", **LOUD}], {"dopamine": 2}))
    assert ray.get(untouched.events_after.remote()) == []


@pytest.fixture(scope="module")
def untouched() -> Any:
    return workspace()


def test_a_subscriber_must_listen(untouched: Any) -> None:
    deaf = NeurotransmitterActor.remote()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="no method on_broadcast"):
        ray.get(untouched.subscribe.remote(deaf))


def test_every_agent_has_a_stage_of_its_own() -> None:
    neuro = NeurotransmitterActor.remote(agents=2000)  # type: ignore[attr-defined]
    workspace = GlobalWorkspaceActor.remote(agents=2000, neurotransmitters=neuro)  # type: ignore[attr-defined]
    bell = {"id": "bell", "surprise": 3.0, "relevance": 0.9}
    ray.get(workspace.broadcast.remote([bell], agent=7))
    first = ray.get(workspace.broadcast.remote([bell], agent=1999))
    assert first["broadcast"] and first["broadcast"][0]["salience"] > 0.6
    # Agent 7 has heard the bell before and is habituated to it; agent 1999 has not.
    assert ray.get(workspace.broadcast.remote([bell], agent=7))["salience_max"] < first["salience_max"]
    assert [event["agent"] for event in ray.get(workspace.events_after.remote())][:2] == [7, 1999]
    with pytest.raises(ValueError, match="no agent 2000"):
        ray.get(workspace.broadcast.remote([bell], agent=2000))
