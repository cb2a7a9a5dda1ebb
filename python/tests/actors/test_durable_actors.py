"""Actors that are killed for real and started again: they go on from the last step that they acknowledged."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from actor_processes import Here, answer, assert_same, fail_once, heard, kill, process_of, state_of, there
from processes import python
from ray import cloudpickle
from redis_server import redis_server

from cognitive_actors.actors.durability import Durability
from cognitive_actors.actors.inference import InferenceEngineActor
from cognitive_actors.actors.neurotransmitter import NeurotransmitterActor
from cognitive_actors.actors.population import PopulationActor
from cognitive_actors.actors.streams import StreamParameters, StreamStatisticsActor
from cognitive_actors.actors.workspace import GlobalWorkspaceActor
from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.drift import CusumParameters
from cognitive_actors.core.roster import Chunk
from cognitive_actors.files import CheckpointError, load_model
from cognitive_actors.files.store import StaleWriter, StoreUnavailable, open_store

pytestmark = pytest.mark.usefixtures("embedded_ray")
# The actors' processes get the functions below, and do not know this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

LOUD = {"surprise": 3.0, "relevance": 1.0, "valence": 1.0}
RAINY = {"weather": "rain", "temperature": "cold"}
Steps = list[Callable[[Any], Any]]


def neurotransmitters(make: Any, durability: Durability | None = None, agents: int = 3) -> Any:
    return make(NeurotransmitterActor, agents, durability=durability)


@pytest.fixture
def at(tmp_path: Path) -> Durability:
    return Durability(str(tmp_path / "store"), "agent/1")


def neuro_steps() -> Steps:
    deltas = np.random.default_rng(7).normal(scale=0.2, size=(3, 5))
    return [
        lambda a: a.apply_delta.remote({"dopamine": 0.4, "cortisol": -0.2}, agent=1, seconds=0.3),
        lambda a: a.apply_deltas.remote(deltas, seconds=1.7),
        lambda a: a.advance.remote(12.3),
        lambda a: a.apply_delta.remote({"norepinephrine": 0.5}, agent=2),
        lambda a: a.apply_deltas.remote(-deltas, 0.01),
    ]


def workspace_steps() -> Steps:
    inputs = [{"id": f"ä{i}", **LOUD, "relevance": 0.5 + i / 20, "content": {"n": [i, None]}} for i in range(6)]
    return [
        lambda a: a.broadcast.remote(inputs[:3], agent=1),
        lambda a: a.broadcast.remote(inputs[2:], agent=0),
        lambda a: a.broadcast.remote([], agent=1),
        lambda a: a.broadcast.remote(inputs, {"norepinephrine": 0.9}, agent=1),
        lambda a: a.events_after.remote(1),
    ]


def engine_steps() -> Steps:
    return [
        lambda a: a.observe.remote(RAINY, agent=1),
        lambda a: a.act.remote("take > leave", agent=1),
        lambda a: a.observe.remote({"wind": 0}, agent=1),
        lambda a: a.act.remote(0, agent=0),
        lambda a: a.evaluate.remote({"dopamine": 0.8}, agent=1),
    ]


def streams(make: Any, durability: Durability | None = None) -> Any:
    # So few of everything that each step is past it: baselines, windows, and how many streams are kept.
    parameters = StreamParameters(CusumParameters(baseline=3), reference=4, recent=2)
    return make(StreamStatisticsActor, parameters, streams=2, durability=durability)


def stream_steps() -> Steps:
    numbers = np.random.default_rng(3).normal(size=(30, 3)).tolist()
    return [
        lambda a: a.drift.remote("a", [x for x, *_ in numbers]),
        lambda a: a.learn.remote("a", numbers),
        lambda a: a.drift.remote("b", [5.0, 6.0]),
        lambda a: a.learn.remote("b", [[1.0], [2.0]]),
        lambda a: a.drift.remote("c", [x for *_, x in numbers]),
        lambda a: a.learn.remote("c", numbers[:4]),
        lambda a: a.forget_drift.remote("b"),
        lambda a: a.score.remote("c", numbers),
        lambda a: a.status.remote(),
    ]


def population_steps() -> Steps:
    delta = np.zeros((3, 5))
    chunks = [
        Chunk(names, np.array([1.0, 2.0, 3.0]) + 3 * day, np.full((3, 4), day % 3), delta + 0.1 * day)
        for day, names in enumerate(["aab", "abc", "cba", "aaa", "dcb"])
    ]
    return [lambda a, chunk=chunk: a.process.remote(chunk) for chunk in chunks]  # type: ignore[misc]


@pytest.fixture(params=["neurotransmitters", "workspace", "engine", "population", "streams"])
def kind(request: pytest.FixtureRequest, examples: Path) -> tuple[Callable[..., Any], Steps]:
    """What makes an actor, here or there, durable or not, and what happens to it."""
    model = str(examples / "umbrella.yaml")
    return {
        "neurotransmitters": (neurotransmitters, neuro_steps()),
        "workspace": (lambda make, d=None: make(GlobalWorkspaceActor, 2, agents=2, durability=d), workspace_steps()),
        "engine": (lambda make, d=None: make(InferenceEngineActor, model, 2, durability=d), engine_steps()),
        "population": (
            lambda make, d=None: make(PopulationActor, load_model(model), CycleSettings(alpha=2.0), durability=d),
            population_steps(),
        ),
        "streams": (streams, stream_steps()),
    }[request.param]


def assert_same_step(step: Callable[[Any], Any], actor: Any, twin: Any) -> None:
    expected, got = answer(step(twin)), answer(step(actor))
    if isinstance(expected, dict) and all(isinstance(x, np.ndarray) for x in expected.values()):
        assert_same(dict(sorted(expected.items())), dict(sorted(got.items())))
    else:
        assert np.array_equal(got, expected) if isinstance(expected, np.ndarray) else got == expected


def test_a_killed_actor_goes_on_as_if_nothing_had_happened(
    kind: tuple[Callable[..., Any], Steps], at: Durability
) -> None:
    make, steps = kind
    actor, twin = make(there, at), make(Here)
    for i, step in enumerate(steps):
        assert_same_step(step, actor, twin)
        if i in (1, 3):
            kill(actor)
        assert_same(state_of(actor), state_of(twin))
    # One made anew under the same name goes on as well.
    assert_same(state_of(make(Here, at)), state_of(twin))


def test_a_call_that_was_saved_and_not_answered_is_applied_once(
    kind: tuple[Callable[..., Any], Steps], at: Durability
) -> None:
    make, steps = kind
    actor, twin = make(there, at), make(Here)
    assert_same_step(steps[0], actor, twin)
    pid = process_of(actor)
    fail_once(actor, "after", "kill")
    # Ray calls again what was not answered.
    assert_same_step(steps[1], actor, twin)
    assert process_of(actor) != pid
    assert_same(state_of(actor), state_of(twin))


@pytest.mark.parametrize(("when", "request_name"), [("before", None), ("before", "a"), ("after", "a")])
def test_a_retried_request_is_applied_once(at: Durability, when: str, request_name: str | None) -> None:
    actor, twin = neurotransmitters(there, at), neurotransmitters(Here)
    pid = process_of(actor)
    fail_once(actor, when, "kill")
    assert_same_step(lambda a: a.apply_delta.remote({"dopamine": 0.3}, request=request_name), actor, twin)
    assert process_of(actor) != pid
    assert_same(state_of(actor), state_of(twin))


def test_a_request_is_answered_again_and_not_applied_again(at: Durability) -> None:
    actor = neurotransmitters(Here, at)
    first = answer(actor.apply_delta.remote({"dopamine": 0.1}, request="a"))
    levels = answer(actor.apply_deltas.remote(np.full((3, 5), 0.01), request="b"))
    answer(actor.advance.remote(1.0, request="c"))
    before = state_of(actor)
    for _ in range(2):
        assert answer(actor.apply_delta.remote({"dopamine": 0.1}, request="a")) == first
        assert np.array_equal(answer(actor.apply_deltas.remote(np.full((3, 5), 0.01), request="b")), levels)
        assert answer(actor.advance.remote(1.0, request="c")) is None
        assert_same(before, state_of(actor))
        actor = neurotransmitters(Here, at)
    for request in ("", "x" * 201, "\ud800", 7):
        with pytest.raises(ValueError, match="write a text of 1 to 200 characters"):
            answer(actor.advance.remote(1.0, request=request))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_save_that_fails_changes_nothing_or_is_found_out(at: Durability, when: str) -> None:
    actor, twin = neurotransmitters(Here, at), neurotransmitters(Here)
    fail_once(actor, when, "raise")
    before = answer(actor.get_levels.remote())
    with pytest.raises(StoreUnavailable, match="the store did not answer"):
        answer(actor.apply_delta.remote({"dopamine": 0.3}, request="a"))
    assert np.array_equal(answer(actor.get_levels.remote()), before)
    for actor_or_twin in (actor, twin):
        answer(actor_or_twin.apply_delta.remote({"dopamine": 0.3}, request="a"))
        answer(actor_or_twin.advance.remote(2.0))
    assert_same(state_of(actor), state_of(twin))


def test_who_was_replaced_cannot_save(at: Durability) -> None:
    old = neurotransmitters(Here, at)
    answer(old.apply_delta.remote({"dopamine": 0.3}))
    new = neurotransmitters(Here, at)
    before = state_of(old)
    assert_same(before, state_of(new))
    with pytest.raises(StaleWriter, match="another writer has taken over"):
        answer(old.advance.remote(5.0))
    assert_same(before, state_of(old))
    answer(new.apply_delta.remote({"cortisol": 0.3}))
    assert_same(state_of(new), state_of(neurotransmitters(Here, at)))


def test_a_checkpoint_of_others_is_refused(at: Durability, examples: Path) -> None:
    answer(neurotransmitters(Here, at).advance.remote(1.0))
    model = str(examples / "umbrella.yaml")
    for kind, arguments, said in (
        (NeurotransmitterActor, [4], "agents was 3 then and is 4 now; give the actor what it had"),
        (NeurotransmitterActor, [3, "guide"], r"parameters\..* then and is"),
        (GlobalWorkspaceActor, [], "actor was 'neurotransmitters' then and is 'workspace' now"),
        (InferenceEngineActor, [model], "and is 'inference engine' now"),
    ):
        with pytest.raises(CheckpointError, match=said):
            Here(kind, *arguments, durability=at)
    # And it is still there for the one that it belongs to.
    assert answer(neurotransmitters(Here, at).save.remote()) == 4


def test_a_changed_model_is_refused(tmp_path: Path, at: Durability, examples: Path) -> None:
    path, text = tmp_path / "model.yaml", (examples / "umbrella.yaml").read_text()
    path.write_text(text)
    answer(Here(InferenceEngineActor, str(path), durability=at).observe.remote(RAINY))
    assert "horizon: 2" in text
    path.write_text(text.replace("horizon: 2", "horizon: 1"))
    with pytest.raises(CheckpointError, match=r"model\..* was .* then and is .* now"):
        Here(InferenceEngineActor, str(path), durability=at)
    # In a process of its own the actor does not start, and says why.
    with pytest.raises(ray.exceptions.ActorDiedError, match=r"model\..* was .* then and is .* now"):
        answer(there(InferenceEngineActor, str(path), durability=at).save.remote())


def test_a_damaged_checkpoint_costs_one_step(tmp_path: Path, at: Durability) -> None:
    actor = neurotransmitters(Here, at)
    answer(actor.apply_delta.remote({"dopamine": 0.3}))
    before = state_of(actor)
    answer(actor.advance.remote(1.0))
    files = sorted((tmp_path / "store").glob("*/*.npz"))
    files[-1].write_bytes(files[-1].read_bytes()[:-1])
    assert_same(before, state_of(neurotransmitters(Here, at)))
    for path in (tmp_path / "store").glob("*/*.npz"):
        path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no generation can be restored"):
        neurotransmitters(Here, at)


def test_it_may_be_saved_less_often(tmp_path: Path) -> None:
    at = Durability(str(tmp_path / "store"), "agent", every=3)
    actor = neurotransmitters(Here, at)
    store = open_store(at.url)

    def generation() -> int:
        checkpoint = store.load("agent")
        assert checkpoint is not None
        return checkpoint.generation

    seen = []
    for _ in range(6):
        answer(actor.advance.remote(1.0))
        seen.append(generation())
    assert seen == [1, 1, 2, 2, 2, 3]
    answer(actor.advance.remote(1.0))
    assert answer(actor.save.remote()) == generation() == 4
    at_once = neurotransmitters(Here, Durability(at.url, "other", every=1000, seconds=0.0))
    answer(at_once.advance.remote(1.0))
    checkpoint = store.load("other")
    assert checkpoint is not None and checkpoint.generation == 2
    assert answer(neurotransmitters(Here).save.remote()) is None


def test_what_cannot_be_stored_is_refused_and_changes_nothing(at: Durability) -> None:
    actor = Here(GlobalWorkspaceActor, durability=at)
    before = state_of(actor)
    for content in ((1, 2), {"a": object}, np.zeros(2), {1: "a"}):
        with pytest.raises(CheckpointError, match=r"write text, finite numbers|write lists for tuples"):
            answer(actor.broadcast.remote([{"id": "x", "content": content, **LOUD}]))
    assert_same(before, state_of(actor))
    # Without durability anything may be held.
    plain = Here(GlobalWorkspaceActor)
    assert answer(plain.broadcast.remote([{"content": (1, 2), **LOUD}]))["broadcast"][0]["content"] == (1, 2)


def test_a_key_alone_means_the_store_that_the_environment_names(
    kind: tuple[Callable[..., Any], Steps], at: Durability, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, steps = kind
    for url in (None, ""):
        monkeypatch.delenv("COGNITIVE_CHECKPOINTS", raising=False)
        if url is not None:
            monkeypatch.setenv("COGNITIVE_CHECKPOINTS", url)
        with pytest.raises(ValueError, match="set COGNITIVE_CHECKPOINTS to its URL on every node, or write Durability"):
            make(Here, at.key)
    monkeypatch.setenv("COGNITIVE_CHECKPOINTS", at.url)
    actor = make(Here, at.key)
    answer(steps[0](actor))
    assert_same(state_of(actor), state_of(make(Here, at)))
    for wrong, said in (("", "durability key is ''"), (7, "durability is 7; write a key")):
        with pytest.raises(ValueError, match=said):
            make(Here, wrong)


def test_the_environment_is_that_of_the_actors_process(at: Durability, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COGNITIVE_CHECKPOINTS", "/nowhere")
    surroundings = {"env_vars": {"COGNITIVE_CHECKPOINTS": at.url}}
    actor = NeurotransmitterActor.options(runtime_env=surroundings).remote(3, durability=at.key)  # type: ignore[attr-defined]
    answer(actor.apply_delta.remote({"dopamine": 0.3}))
    assert_same(state_of(actor), state_of(neurotransmitters(Here, at)))


@ray.remote(num_cpus=0)
class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def on_broadcast(self, event: dict[str, Any]) -> None:
        self.heard.append(event["sequence"])

    def all(self) -> list[int]:
        return self.heard


def test_subscribers_hear_of_a_request_once(at: Durability) -> None:
    actor, listener = there(GlobalWorkspaceActor, durability=at), Listener.remote()  # type: ignore[attr-defined]
    answer(actor.subscribe.remote(listener))
    first = answer(actor.broadcast.remote([{"content": "bell", **LOUD}], request="a"))
    assert answer(actor.broadcast.remote([{"content": "bell", **LOUD}], request="a")) == first
    answer(actor.broadcast.remote([{"content": "hum", **LOUD}], request="b"))
    assert heard(listener, 2) == [1, 2]
    kill(actor)
    # Subscriptions end with the process; what was missed is kept.
    answer(actor.broadcast.remote([{"content": "knock", **LOUD}]))
    assert answer(listener.all.remote()) == [1, 2]
    assert answer(actor.subscribe.remote(listener)) == 3
    assert [event["sequence"] for event in answer(actor.events_after.remote(2))] == [3]


@pytest.fixture
def redis_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "redis").mkdir()
    with redis_server(tmp_path / "redis") as address:
        yield f"redis://{address}"


def test_in_redis_as_well(redis_url: str) -> None:
    actor, twin = neurotransmitters(there, Durability(redis_url, "agent")), neurotransmitters(Here)
    for step in neuro_steps():
        answer(step(actor))
        answer(step(twin))
    kill(actor)
    assert_same(state_of(actor), state_of(twin))


def test_on_another_node_when_its_own_is_lost(tmp_path: Path) -> None:
    process = python(str(Path(__file__).with_name("node_loss.py")), str(tmp_path / "store"))
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert "moved and kept" in output.splitlines(), (process.returncode, output[-2000:], errors[-4000:])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key": ""}, "durability key is ''; write the actor's name"),
        ({"every": 0}, "durability every is 0; write 1 or more"),
        ({"requests": 0}, "durability requests is 0"),
        ({"room": -1}, "durability room is -1; write a number of bytes, 0 or more"),
        ({"seconds": float("nan")}, "durability seconds is nan; write 0 or more"),
    ],
)
def test_durability_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Durability(**{"url": "/x", "key": "agent", **options})
    assert "secret" not in repr(Durability("redis://:secret@host", "agent"))
