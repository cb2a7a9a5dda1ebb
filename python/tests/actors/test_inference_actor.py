"""InferenceEngineActor: the core's numbers, for the guide's call and for thousands of agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from cognitive_actors.actors.inference import InferenceEngineActor
from cognitive_actors.actors.neurotransmitter import NeurotransmitterActor
from cognitive_actors.core.couplings import modulated_model, modulation, step_weights
from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.expected_free_energy import Planner
from cognitive_actors.core.inference import infer_states
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.modulator_parameters import MODULATORS

pytestmark = pytest.mark.usefixtures("embedded_ray")

RAINY = {"weather": "rain", "temperature": "cold"}


def engine(examples: Path, **options: Any) -> Any:
    return InferenceEngineActor.remote(str(examples / "umbrella.yaml"), **options)  # type: ignore[attr-defined]


def test_free_energy_is_the_cores(examples: Path, model: GenerativeModel) -> None:
    actor, settings = engine(examples), CycleSettings()
    ray.get(actor.observe.remote(RAINY))
    observed = [torch.tensor([x]) for x in (1, 0, -1, -1)]
    beliefs = infer_states(model, observed, method=settings.method).beliefs
    baseline = torch.tensor(settings.modulators.baseline, dtype=torch.float64)
    for state in ({}, {"norepinephrine": 0.8, "serotonin": 0.2}):
        levels = baseline.clone()
        for name, level in state.items():
            levels[MODULATORS.index(name)] = level
        factors = modulation(settings.couplings, levels[None], baseline)
        weights = step_weights(settings.discount_half_life, model.horizon, factors)
        expected = Planner(modulated_model(model, factors)).expected_free_energy(
            beliefs, None if weights is None else weights.to(model.dtype)
        )[0]
        for number, words in enumerate(ray.get(actor.policies.remote())):
            for policy in (number, f"policy_{number}", words):
                G = ray.get(actor.compute_free_energy.remote(state, policy))
                assert pytest.approx(float(expected[number]), abs=1e-6) == G


def test_dopamine_sharpens_the_choice(examples: Path) -> None:
    actor = engine(examples)
    spread = [max(ray.get(actor.evaluate.remote({"dopamine": d}))["posterior"]) for d in (0.1, 0.5, 0.9)]
    assert spread == sorted(spread) and spread[0] < spread[2]
    evaluation = ray.get(actor.evaluate.remote())
    assert sum(evaluation["posterior"]) == pytest.approx(1, abs=1e-6)
    # Without habits, the best policy is the most probable one.
    assert np.argmin(evaluation["free_energy"]) == np.argmax(evaluation["posterior"])


def test_levels_come_from_the_neurotransmitter_actor(examples: Path) -> None:
    neuro = NeurotransmitterActor.remote(2)  # type: ignore[attr-defined]
    actor = engine(examples, agents=2, neurotransmitters=neuro)
    rest = ray.get(actor.evaluate.remote(agent=1))
    state = ray.get(neuro.apply_delta.remote({"dopamine": 0.4}, agent=1))
    raised = ray.get(actor.evaluate.remote(agent=1))
    assert max(raised["posterior"]) > max(rest["posterior"])
    assert raised == ray.get(actor.evaluate.remote(state, 1))
    assert ray.get(actor.evaluate.remote(agent=0)) == rest


def test_observe_and_act(examples: Path) -> None:
    actor = engine(examples, agents=3)
    before = ray.get(actor.get_beliefs.remote(1))
    seen = ray.get(actor.observe.remote(RAINY, agent=1))
    assert seen["beliefs"] == ray.get(actor.get_beliefs.remote(1)) != before
    assert ray.get(actor.get_beliefs.remote(0)) == before
    for beliefs in seen["beliefs"].values():
        assert sum(beliefs.values()) == pytest.approx(1, abs=1e-5)
    assert ray.get(actor.act.remote("take > leave", agent=1)) == {"carrying": "take"}
    ray.get(actor.observe.remote({"weather": None, "wind": 0}, agent=1))
    assert ray.get(actor.get_beliefs.remote(1))["carrying"]["umbrella"] > 0.99
    assert ray.get(actor.get_beliefs.remote(2))["carrying"]["umbrella"] == 0


def test_thousands_of_agents(examples: Path) -> None:
    actor = engine(examples, agents=5000)
    ray.get(actor.observe.remote(RAINY, agent=4999))
    levels = np.tile(CycleSettings().modulators.baseline, (5000, 1))
    levels[:2500, 0] = 0.9
    G = ray.get(actor.compute_free_energies.remote(levels))
    assert G.shape == (5000, 4) and np.isfinite(G).all()
    # Free energies do not depend on dopamine, which only sets how firmly they are followed.
    assert np.allclose(G[0], G[4998], atol=1e-6) and not np.allclose(G[0], G[4999], atol=1e-3)
    assert G[4999, 2] == pytest.approx(ray.get(actor.compute_free_energy.remote({}, 2, 4999)), abs=1e-6)


def test_bad_input_is_named(examples: Path) -> None:
    actor = engine(examples, agents=2)
    before = ray.get(actor.get_beliefs.remote())
    for call, message in (
        (actor.observe.remote({"weather": "ran"}), "did you mean 'rain'"),
        (actor.observe.remote({"wheather": "rain"}), "unknown modality"),
        (actor.observe.remote({}), "nothing is observed"),
        (actor.compute_free_energy.remote({"dopamin": 0.5}, 0), "no modulator 'dopamin'; write some of: dopamine"),
        (actor.compute_free_energy.remote({"dopamine": "x"}, 0), "dopamine as 'x'; write a level between 0 and 1"),
        (actor.compute_free_energy.remote({"dopamine": float("nan")}, 0), "dopamine as nan"),
        (actor.compute_free_energy.remote({}, "policy_4"), "no such policy; write a number from 0 to 3"),
        (actor.compute_free_energy.remote({}, -1), "no such policy"),
        (actor.compute_free_energies.remote(np.zeros((3, 5))), r"levels has shape \(3, 5\); write \(2, 5\)"),
        (actor.observe.remote(RAINY, agent=2), "no agent 2; write a number between 0 and 1"),
    ):
        with pytest.raises(ValueError, match=message):
            ray.get(call)
    assert ray.get(actor.get_beliefs.remote()) == before


@pytest.mark.parametrize("name", ["model.pkl", "model.pt"])
def test_a_model_is_never_unpickled(name: str) -> None:
    actor = InferenceEngineActor.remote(model_path=name)  # type: ignore[attr-defined]
    with pytest.raises(ray.exceptions.ActorDiedError, match="hold code that runs when they are read"):
        ray.get(actor.policies.remote())
