"""Populations that are killed while they learn and act by chance: they go on from the last chunk they acknowledged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from actor_processes import Here, answer, assert_same, fail_once, kill, process_of, state_of, there

from cognitive_actors import Durability, PopulationActor
from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.roster import Chunk
from cognitive_actors.files import CheckpointError, load_model
from cognitive_actors.files.store import StaleWriter, StoreUnavailable

pytestmark = pytest.mark.usefixtures("embedded_ray")

LEARNING = CycleSettings(alpha=1.5, seed=11, learn_A=True, learn_B=True, learn_D=True, retention=0.99)
Columns = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def counted(examples: Path, tmp_path_factory: pytest.TempPathFactory) -> GenerativeModel:
    """The umbrella model with Dirichlet counts to learn from."""
    path = tmp_path_factory.mktemp("model") / "umbrella.yaml"
    path.write_text((examples / "umbrella.yaml").read_text() + "\nconcentration: 8\n")
    return load_model(path)


@pytest.fixture
def at(tmp_path: Path) -> Durability:
    return Durability(str(tmp_path / "store"), "weather station")


def chunks() -> list[Chunk]:
    """Six chunks: agents join in the second and the fourth, all or some take part, one may come several times."""
    random = np.random.default_rng(3)
    names = [["a", "b", "a"], ["b", "ä", "a", "b"], ["a", "b", "ä"], ["c", "a", "c", "c"], ["ä"], ["b", "a", "ä", "c"]]
    made = []
    for day, who in enumerate(names):
        n = len(who)
        observations = np.stack([random.integers(0, k, size=n) for k in (5, 3, 3, 3)], axis=1)
        delta = random.normal(scale=0.2, size=(n, 5)) * (random.random((n, 1)) < 0.5)
        made.append(Chunk(who, day + np.arange(n) / 10, observations, delta))
    return made


def population(make: Any, model: GenerativeModel, at: Durability | str | None = None, **options: Any) -> Any:
    settings = options.pop("settings", LEARNING)
    return make(PopulationActor, model, settings, durability=at, **options)


def assert_same_results(one: Columns, other: Columns) -> None:
    assert_same(dict(sorted(one.items())), dict(sorted(other.items())))


def test_a_killed_population_learns_and_acts_as_if_nothing_had_happened(
    counted: GenerativeModel, at: Durability
) -> None:
    actor, twin = population(there, counted, at), population(Here, counted)
    start = {name: x for name, x in state_of(population(Here, counted)).items() if name.startswith("pA")}
    assert start
    for day, chunk in enumerate(chunks()):
        if day == 2:
            # Stored, and dead before anybody heard of it: Ray sends the chunk again.
            pid = process_of(actor)
            fail_once(actor, "after", "kill")
        assert_same_results(answer(actor.process.remote(chunk)), answer(twin.process.remote(chunk)))
        if day == 2:
            assert process_of(actor) != pid
        if day in (0, 3):
            kill(actor)
        assert_same(state_of(actor), state_of(twin))
    state = state_of(actor)
    # What the test is about did happen: steps were counted, and counts learned, of each kind.
    assert state["step"].tolist() == [6, 5, 4, 4]
    for kind in ("pA.0", "pB.0", "pD.0"):
        assert len(np.unique(state[kind], axis=0)) > 1, kind
    assert_same(state, state_of(population(Here, counted, at)))


def test_actions_are_drawn(counted: GenerativeModel) -> None:
    def actions(seed: int) -> list[Any]:
        actor = population(Here, counted, settings=replace(LEARNING, seed=seed))
        return [answer(actor.process.remote(chunk))["action"].tolist() for chunk in chunks()]

    assert actions(1) == actions(1) != actions(2)


def test_a_chunk_that_comes_again_gets_the_answer_of_the_first(counted: GenerativeModel, at: Durability) -> None:
    actor = population(Here, counted, at)
    first, second, *_ = chunks()
    one = answer(actor.process.remote(first, request="1"))
    two = answer(actor.process.remote(second, request="2"))
    before = state_of(actor)
    for again in (actor, population(Here, counted, at)):
        assert_same_results(answer(again.process.remote(first, request="1")), one)
        assert_same_results(answer(again.process.remote(second, request="2")), two)
        assert_same(state_of(again), before)


def test_an_answer_without_room_is_known_and_not_applied_again(counted: GenerativeModel, at: Durability) -> None:
    small = replace(at, room=0)
    actor = population(Here, counted, small)
    first, second, third, *_ = chunks()
    answer(actor.process.remote(first, request="1"))
    two = answer(actor.process.remote(second, request="2"))
    before = state_of(actor)
    for again in (actor, population(Here, counted, small)):
        assert_same_results(answer(again.process.remote(second, request="2")), two)
        with pytest.raises(LookupError, match="request '1' has been applied already, and its answer is no longer kept"):
            answer(again.process.remote(first, request="1"))
        assert_same(state_of(again), before)
    assert set(answer(again.process.remote(third))) == set(two)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_chunk_that_could_not_be_saved_is_undone(counted: GenerativeModel, at: Durability, when: str) -> None:
    actor, twin = population(Here, counted, at), population(Here, counted)
    for day, chunk in enumerate(chunks()):
        fail_once(actor, when, "raise")
        before = state_of(actor)
        with pytest.raises(StoreUnavailable, match="the store did not answer"):
            answer(actor.process.remote(chunk, request=f"{day}"))
        assert_same(state_of(actor), before)
        # Whether it was stored all the same is found out, and the chunk applied once.
        assert_same_results(answer(actor.process.remote(chunk, request=f"{day}")), answer(twin.process.remote(chunk)))
        assert_same(state_of(actor), state_of(twin))


def test_a_chunk_that_cannot_be_processed_is_undone(counted: GenerativeModel, at: Durability) -> None:
    actor, twin = population(Here, counted, at), population(Here, counted)
    first, second, *_ = chunks()
    # Its first wave is good, the second is not, and an agent joins with it.
    bad = Chunk(["a", "new", "a"], first.time + 1, first.observations.copy(), first.delta)
    bad.observations[2] = 99
    for one in (actor, twin):
        answer(one.process.remote(first))
    with pytest.raises(ValueError):
        answer(actor.process.remote(bad))
    assert_same(state_of(actor), state_of(twin))
    assert_same_results(answer(actor.process.remote(second)), answer(twin.process.remote(second)))
    assert_same(state_of(actor), state_of(twin))


def test_what_was_saved_goes_before_a_snapshot(counted: GenerativeModel, at: Durability) -> None:
    first, second, *_ = chunks()
    source = population(Here, counted)
    answer(source.process.remote(first))
    given = answer(source.snapshot.remote())
    actor = population(Here, counted, at, snapshot=given)
    assert_same(state_of(actor), given)
    answer(actor.process.remote(second))
    later = population(Here, counted, at, snapshot=given)
    assert_same(state_of(later), state_of(actor))
    with pytest.raises(StaleWriter, match="another writer has taken over"):
        answer(actor.process.remote(second))
    assert_same(state_of(later), state_of(actor))


def test_other_settings_and_models_are_refused(
    counted: GenerativeModel, model: GenerativeModel, at: Durability
) -> None:
    answer(population(Here, counted, at).process.remote(chunks()[0]))
    for other, settings, said in (
        (counted, replace(LEARNING, seed=12), r"settings\.seed was 11 then and is 12 now"),
        (counted, replace(LEARNING, learn_D=False), r"settings\.learn_D was True then and is False now"),
        (model, CycleSettings(), r"model\.pA.* then and is"),
    ):
        with pytest.raises(CheckpointError, match=said):
            population(Here, other, at, settings=settings)
    # In a process of its own it does not start, and says why.
    with pytest.raises(ray.exceptions.ActorDiedError, match=r"settings\.seed was 11 then"):
        answer(population(there, counted, at, settings=replace(LEARNING, seed=12)).save.remote())


def test_a_durable_population_gives_no_snapshot_with_its_results(counted: GenerativeModel, at: Durability) -> None:
    actor = population(Here, counted, at)
    with pytest.raises(ValueError, match="durable, and saves its state itself; call process, and snapshot to look"):
        answer(actor.process_and_snapshot.remote(chunks()[0]))
    assert answer(actor.ready.remote())["agents"] == 0


def test_an_end_comes_after_what_is_under_way_and_is_for_good(model: GenerativeModel, at: Durability) -> None:
    settings = CycleSettings()
    actor = population(there, model, replace(at, every=1000), settings=settings)
    twin = population(Here, model, settings=settings)
    under_way = [actor.process.remote(chunk) for chunk in chunks()]
    end = actor.end.remote()
    for reference, chunk in zip(under_way, chunks(), strict=True):
        assert_same_results(answer(reference), answer(twin.process.remote(chunk)))
    with pytest.raises(ray.exceptions.ActorDiedError):
        answer(end)
    with pytest.raises(ray.exceptions.ActorDiedError):
        answer(actor.ready.remote())
    assert_same(state_of(population(Here, model, replace(at, every=1000), settings=settings)), state_of(twin))
