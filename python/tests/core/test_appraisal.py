"""What observations mean to an agent, and the impulses that follow."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from random_models import SEEDS, Structure, build, of_agent, random_beliefs, random_observations, structures
from torch import Tensor

from cognitive_actors.core.appraisal import Appraisal, Appraiser, Drives, drive
from cognitive_actors.core.batched import leaves, take
from cognitive_actors.core.expected_free_energy import Planner
from cognitive_actors.core.inference import infer_states
from cognitive_actors.core.model import Factor, GenerativeModel, Modality
from cognitive_actors.core.modulator_parameters import MODULATORS

AGENTS = 4
NONE = torch.full((1,), -1)


def close(x: Tensor, y: Tensor) -> None:
    torch.testing.assert_close(x, y, rtol=0, atol=1e-12)


@given(structures(), SEEDS)
@settings(max_examples=40)
def test_surprises_by_hand(structure: Structure, seed: int) -> None:
    """Surprise, its expectation, and the divergence of the modality's own posterior from the prior."""
    model = build(structure, seed, agents=AGENTS if seed % 2 else None)
    prior, observations = random_beliefs(model, AGENTS, seed), random_observations(model, AGENTS, seed)
    appraisal = Appraiser(model)(model, prior, observations)
    for n in range(AGENTS):
        for m, (a, modality) in enumerate(zip(of_agent(model.A, n), model.modalities, strict=True)):
            o = int(observations[m][n])
            expected = (0.0, 0.0, 0.0)
            if o >= 0:
                joint = np.ones(())
                for f in modality.factors:
                    joint = np.multiply.outer(joint, prior[f][n].numpy())
                predicted = (a * joint).reshape(len(a), -1).sum(axis=1)
                posterior = a[o] * joint / predicted[o]
                divergence = float((posterior * np.log(posterior / joint)).sum())
                expected = (-math.log(predicted[o]), -float(predicted @ np.log(predicted)), divergence)
            ours = (appraisal.surprise[n, m], appraisal.expected_surprise[n, m], appraisal.bayesian_surprise[n, m])
            assert [float(x) for x in ours] == pytest.approx(expected, abs=1e-12)
            assert bool(appraisal.observed[n, m]) == (o >= 0)


@given(structures(), SEEDS)
@settings(max_examples=25)
def test_expected_bayesian_surprise_is_the_state_information_gain(structure: Structure, seed: int) -> None:
    """Averaged over what a modality may show, each by its probability."""
    model = build(structure, seed)
    prior = random_beliefs(model, 1, seed)
    appraiser = Appraiser(model)
    still = tuple(torch.eye(s, dtype=model.dtype)[None, :, :, None] for s in model.num_states)
    unmoved = replace(model, B=still, horizon=1, factors=tuple(replace(f, actions=("stay",)) for f in model.factors))
    gain = Planner(unmoved).decompose(prior).state_information_gain.sum()
    average = 0.0
    for m, outcomes in enumerate(model.num_outcomes):
        for o in range(outcomes):
            seen = tuple(torch.tensor([o]) if k == m else NONE for k in range(len(model.modalities)))
            appraisal = appraiser(model, prior, seen)
            average += math.exp(-float(appraisal.surprise[0, m])) * float(appraisal.bayesian_surprise[0, m])
    assert average == pytest.approx(float(gain), abs=1e-12)


@given(structures(), SEEDS)
@settings(max_examples=20)
def test_without_preferences_nothing_is_relevant_good_or_bad(structure: Structure, seed: int) -> None:
    model = build(structure, seed)
    flat = replace(model, C=tuple(torch.log_softmax(torch.zeros_like(C), dim=-1) for C in model.C))
    prior, observations = random_beliefs(model, AGENTS, seed), random_observations(model, AGENTS, seed, 0)
    appraiser = Appraiser(flat)
    appraisal = appraiser(flat, prior, observations)
    close(appraisal.relevance, torch.zeros_like(appraisal.relevance))
    close(appraisal.valence, torch.zeros_like(appraisal.valence))
    beliefs = infer_states(flat, observations, prior).beliefs
    close(appraiser.prospects(prior, beliefs), torch.zeros(AGENTS, dtype=torch.float64))


def fork(reward: float = 2.0) -> GenerativeModel:
    """A hidden side, a sign that shows it, and a reward to be had by going to that side."""
    side = Factor("side", ("left", "right"))
    place = Factor("place", ("left", "right"), ("go left", "go right"))
    sign = Modality("sign", ("left", "right"), (0,))
    payment = Modality("payment", ("nothing", "reward"), (1, 0), social=True)
    noise = Modality("noise", ("a", "b"), (0,))
    go = np.repeat(np.eye(2)[:, None, :], 2, axis=1)
    pays = np.stack([1 - np.eye(2), np.eye(2)])
    return GenerativeModel.from_arrays(
        [np.eye(2), pays, np.full((2, 2), 0.5)],
        [np.eye(2)[..., None], go],
        [[0.0, 0.0], [0.0, reward], [0.0, 0.0]],
        factors=(side, place),
        modalities=(sign, payment, noise),
        dtype=torch.float64,
    )


def test_relevant_is_what_moves_the_value_within_reach() -> None:
    model = fork(reward=1.0)
    prior = model.D
    appraisal = Appraiser(model)(model, prior, (torch.tensor([0]), NONE, torch.tensor([0])))
    # Half a chance of the reward becomes a certainty, worth half a nat.
    assert appraisal.relevance[0].tolist() == pytest.approx([0.5, 0.0, 0.0], abs=1e-12)
    assert appraisal.bayesian_surprise[0].tolist() == pytest.approx([math.log(2), 0.0, 0.0], abs=1e-12)
    assert appraisal.social[0].tolist() == [False, True, False]


def test_prospects_rise_with_a_sign_of_where_the_reward_is_and_fall_with_doubt() -> None:
    model = fork(reward=1.0)
    appraiser = Appraiser(model)
    known = infer_states(model, (torch.tensor([1]), NONE, NONE), model.D).beliefs
    assert float(appraiser.prospects(model.D, known)) == pytest.approx(0.5)
    assert float(appraiser.prospects(known, model.D)) == pytest.approx(-0.5)
    assert float(Appraiser(fork(reward=9.0)).prospects(model.D, known)) == 1.0


def test_valence_is_the_sign_of_how_much_an_outcome_is_wanted() -> None:
    model = fork()
    payment = torch.tensor([0, 1, -1])
    nothing = torch.full_like(payment, -1)
    appraisal = Appraiser(model)(model, model.D, (nothing, payment, nothing))
    assert appraisal.valence[:, 1].tolist() == pytest.approx([-math.tanh(1 / 3), math.tanh(1 / 3), 0.0])
    assert float(appraisal.valence[:, [0, 2]].abs().sum()) == 0


def test_agents_with_models_of_their_own_are_appraised_as_if_alone() -> None:
    own = build(Structure((3, 2), (2, 2), (3, 2), ((1, 0), (0,)), 2), 5, agents=AGENTS)
    prior, observations = random_beliefs(own, AGENTS, 5), random_observations(own, AGENTS, 5, 0)
    together = Appraiser(own)(own, prior, observations)
    for n in range(AGENTS):
        index = torch.tensor([n])
        model = take(own, index)
        alone = Appraiser(model)(model, take(prior, index), take(observations, index))
        for (name, x), (_, y) in zip(leaves(alone), leaves(take(together, index)), strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-12, msg=f"{name} differs")


def test_soft_evidence_is_refused() -> None:
    model = fork()
    with pytest.raises(ValueError, match=r"'sign' has torch\.float64 observations; write int64 outcome numbers"):
        Appraiser(model)(model, model.D, (torch.tensor([[0.5, 0.5]], dtype=torch.float64), NONE, NONE))


def impulses(
    *,
    valence: float = 0.0,
    social: bool = False,
    surprise: float = 0.0,
    expected: float = 0.0,
    prospects: float = 0.0,
    confidence: float = 0.0,
    entropy: float = 0.0,
    policies: int = 4,
    drives: Drives | None = None,
) -> dict[str, float]:
    def cell(x: float) -> Tensor:
        return torch.tensor([[x]])

    appraisal = Appraisal(
        surprise=cell(surprise),
        expected_surprise=cell(expected),
        bayesian_surprise=cell(0.0),
        relevance=cell(0.0),
        valence=cell(valence),
        observed=torch.tensor([[True]]),
        social=torch.tensor([[social]]),
    )
    drives = Drives() if drives is None else drives
    size = drive(drives, appraisal, cell(prospects)[0], cell(confidence)[0], cell(entropy)[0], policies)
    assert size.shape == (1, 5) and size.dtype == torch.float64
    return dict(zip(MODULATORS, size[0].tolist(), strict=True))


def test_what_drives_each_modulator_and_which_way() -> None:
    undecided = math.log(4)
    assert all(x == 0 for x in impulses().values())
    assert impulses(prospects=0.5)["dopamine"] > 0 > impulses(prospects=-0.5)["dopamine"]
    assert impulses(confidence=0.5)["dopamine"] > 0 > impulses(confidence=-0.5)["dopamine"]
    assert impulses(valence=0.5)["serotonin"] > 0 > impulses(valence=-0.5)["serotonin"]
    assert impulses(valence=0.5, social=True)["oxytocin"] > 0
    assert impulses(valence=0.5)["oxytocin"] == impulses(valence=-0.5, social=True)["oxytocin"] == 0
    assert impulses(valence=-0.5, entropy=undecided)["cortisol"] > 0
    assert impulses(valence=-0.5, entropy=0.0)["cortisol"] == impulses(valence=0.5, entropy=undecided)["cortisol"] == 0
    assert impulses(surprise=2.0, expected=1.0)["norepinephrine"] > 0
    assert impulses(surprise=0.1, expected=1.0)["norepinephrine"] < 0


def test_impulses_are_no_larger_than_their_drives() -> None:
    drives = Drives(dopamine=0.5, serotonin=0.4, oxytocin=0.3, cortisol=0.2, norepinephrine=0.1)
    most = impulses(valence=1.0, social=True, surprise=99.0, prospects=1.0, confidence=1.0, entropy=9.0, drives=drives)
    assert list(most.values()) == pytest.approx([0.5, 0.4, 0.3, 0.0, 0.1])
    least = impulses(valence=-1.0, prospects=-1.0, confidence=-1.0, entropy=math.log(4), drives=drives)
    assert list(least.values()) == pytest.approx([-0.5, -0.4, 0.0, 0.2, 0.0])
    assert not any(impulses(valence=1.0, surprise=9.0, prospects=1.0, drives=Drives.none()).values())


def test_a_single_policy_leaves_nothing_undecided() -> None:
    assert impulses(valence=-1.0, policies=1)["cortisol"] == 0
