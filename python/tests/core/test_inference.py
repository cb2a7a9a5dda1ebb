"""State inference against enumeration: exact where it claims to be, monotone and bounded where it approximates."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from random_models import (
    MIXED,
    PAIR,
    SEEDS,
    Structure,
    build,
    columns,
    of_agent,
    random_beliefs,
    random_observations,
    structures,
)
from torch import Tensor

from cognitive_actors.core.inference import evidence_of_actions, infer_states, predict_states
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.policies import first_actions

AGENTS = 3
#: One factor with three states and two actions, one modality with four outcomes.
SIMPLE = Structure((3,), (2,), (4,), ((0,),), 1)
#: Two factors that explain two modalities together, and one alone.
COUPLED = Structure((3, 2), (2, 3), (2, 3, 2), ((1, 0), (0, 1), (1,)), 1)


def close(x: Tensor, y: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(x, y, rtol=0, atol=tolerance)


def enumerated(
    model: GenerativeModel, observations: tuple[Tensor, ...], prior: tuple[Tensor, ...], agent: int
) -> np.ndarray:
    """P(s, o) of one agent for every joint state, by a plain loop."""
    A = of_agent(model.A, agent)
    joint = np.zeros(model.num_states)
    for states in itertools.product(*map(range, model.num_states)):
        p = math.prod(float(q[agent, s]) for q, s in zip(prior, states, strict=True))
        for a, modality, o in zip(A, model.modalities, observations, strict=True):
            if int(o[agent]) >= 0:
                p *= a[(int(o[agent]), *(states[f] for f in modality.factors))]
        joint[states] = p
    return joint


@example(MIXED, 1)
@example(PAIR, 2)
@given(structures(), SEEDS)
@settings(max_examples=80)
def test_joint_equals_enumeration(structure: Structure, seed: int) -> None:
    model = build(structure, seed, agents=AGENTS if seed % 2 else None)
    prior, observations = random_beliefs(model, AGENTS, seed), random_observations(model, AGENTS, seed)
    inferred = infer_states(model, observations, prior, method="joint")
    for agent in range(AGENTS):
        joint = enumerated(model, observations, prior, agent)
        assert float(inferred.free_energy[agent]) == pytest.approx(-math.log(joint.sum()), abs=1e-12)
        for f, q in enumerate(inferred.beliefs):
            others = tuple(i for i in range(joint.ndim) if i != f)
            close(q[agent], torch.from_numpy(joint.sum(axis=others) / joint.sum()))


@given(SEEDS)
@settings(max_examples=20)
def test_one_factor_is_exact_bayes_in_one_pass(seed: int) -> None:
    model = build(SIMPLE, seed)
    prior, observations = random_beliefs(model, AGENTS, seed), random_observations(model, AGENTS, seed, 0)
    inferred = infer_states(model, observations, prior)
    product = model.A[0][0][observations[0]] * prior[0]
    close(inferred.beliefs[0], product / product.sum(dim=1, keepdim=True))
    close(inferred.free_energy, -product.sum(dim=1).log())
    assert inferred.sweeps == 1


@given(structures(), SEEDS)
@settings(max_examples=80)
def test_free_energy_never_rises_between_sweeps_and_bounds_the_evidence(structure: Structure, seed: int) -> None:
    model = build(structure, seed)
    prior, observations = random_beliefs(model, AGENTS, seed), random_observations(model, AGENTS, seed)
    surprise = infer_states(model, observations, prior, method="joint").free_energy
    sweeps = [infer_states(model, observations, prior, max_sweeps=k, tolerance=0.0).free_energy for k in range(8)]
    for before, after in itertools.pairwise(sweeps):
        assert bool((after <= before + 1e-13).all())
    assert bool((sweeps[-1] >= surprise - 1e-12).all())


@given(SEEDS)
@settings(max_examples=20)
def test_beliefs_settle_where_each_is_the_best_given_the_others(seed: int) -> None:
    """At a minimum of free energy no single belief can be changed to lower it."""
    model = build(COUPLED, seed)
    prior, observations = random_beliefs(model, AGENTS, seed), random_observations(model, AGENTS, seed, 0)
    settled = infer_states(model, observations, prior, max_sweeps=300, tolerance=1e-15)
    close(infer_states(model, observations, prior, max_sweeps=300).beliefs[0], settled.beliefs[0], 1e-11)
    q0, q1 = settled.beliefs
    ln = [A[0][o].log() for A, o in zip(model.A, observations, strict=True)]
    message = prior[0].log() + torch.einsum("nji,nj->ni", ln[0], q1) + torch.einsum("nij,nj->ni", ln[1], q1)
    close(torch.softmax(message, dim=-1), q0)
    message = prior[1].log() + torch.einsum("nji,ni->nj", ln[0], q0) + torch.einsum("nij,ni->nj", ln[1], q0) + ln[2]
    close(torch.softmax(message, dim=-1), q1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_beliefs_settle_to_the_precision_of_the_numbers(dtype: torch.dtype) -> None:
    """Free energy is flat at its minimum: it must not be what decides that beliefs have settled."""
    model = build(COUPLED, 5, dtype=dtype)
    observations = random_observations(model, 50, 5, 0)
    prior = random_beliefs(model, 50, 5)
    exact = tuple(q.double() for q in prior)
    ours = infer_states(model, observations, prior, max_sweeps=100)
    settled = infer_states(model.to(dtype=torch.float64), observations, exact, max_sweeps=500, tolerance=0.0)
    for q, reference in zip(ours.beliefs, settled.beliefs, strict=True):
        close(q.double(), reference, 1e-5 if dtype == torch.float32 else 1e-11)


@pytest.mark.parametrize("method", ["fixed-point", "joint"])
@given(SEEDS)
@settings(max_examples=15)
def test_an_agent_is_not_touched_by_its_neighbours(method: str, seed: int) -> None:
    """Also not by those that take more sweeps, which a coarse tolerance makes visible."""
    model = build(COUPLED, seed)
    prior, observations = random_beliefs(model, 8, seed), random_observations(model, 8, seed)
    together = infer_states(model, observations, prior, method=method, tolerance=1e-2)  # type: ignore[arg-type]
    for n in range(8):
        one = slice(n, n + 1)
        alone = infer_states(
            model,
            [o[one] for o in observations],
            [p[one] for p in prior],
            method=method,  # type: ignore[arg-type]
            tolerance=1e-2,
        )
        close(alone.free_energy, together.free_energy[one], 1e-14)
        for q, all_q in zip(alone.beliefs, together.beliefs, strict=True):
            close(q, all_q[one], 1e-14)


@pytest.mark.parametrize("method", ["fixed-point", "joint"])
def test_a_modality_not_observed_is_no_evidence(method: str) -> None:
    model = build(COUPLED, 1)
    prior = random_beliefs(model, AGENTS, 1)
    nothing = (torch.full((AGENTS,), -1),) * 3
    unmoved = infer_states(model, nothing, prior, method=method)  # type: ignore[arg-type]
    for q, p in zip(unmoved.beliefs, prior, strict=True):
        close(q, p)
    close(unmoved.free_energy, torch.zeros(AGENTS, dtype=torch.float64))
    without = GenerativeModel.from_arrays(
        [A[0] for A in model.A[:2]], [B[0] for B in model.B], dependencies=COUPLED.dependencies[:2], dtype=model.dtype
    )
    first, second, _ = random_observations(model, AGENTS, 2, 0)
    fewer = infer_states(without, (first, second), prior, method=method)  # type: ignore[arg-type]
    same = infer_states(model, (first, second, nothing[2]), prior, method=method)  # type: ignore[arg-type]
    close(fewer.beliefs[0], same.beliefs[0])
    close(fewer.free_energy, same.free_energy)


@given(structures(), SEEDS)
@settings(max_examples=20)
def test_certain_soft_evidence_is_the_outcome(structure: Structure, seed: int) -> None:
    model = build(structure, seed, agents=AGENTS if seed % 2 else None)
    prior, observations = random_beliefs(model, AGENTS, seed), random_observations(model, AGENTS, seed, 0)
    hard = infer_states(model, observations, prior)
    certain = [torch.nn.functional.one_hot(o, k).float() for o, k in zip(observations, model.num_outcomes, strict=True)]
    soft = infer_states(model, certain, prior)
    close(hard.free_energy, soft.free_energy)
    for x, y in zip(hard.beliefs, soft.beliefs, strict=True):
        close(x, y)


def test_soft_evidence_averages_log_likelihoods() -> None:
    model = build(SIMPLE, 3)
    weights = torch.tensor(columns(np.random.default_rng(0), 4, 2).T.copy())
    inferred = infer_states(model, [weights])
    product = model.D[0] * torch.exp(weights @ model.A[0][0].log())
    close(inferred.beliefs[0], product / product.sum(dim=1, keepdim=True))


def test_the_prior_is_D_unless_given_and_one_row_serves_all() -> None:
    model = build(COUPLED, 4)
    observations = random_observations(model, AGENTS, 4, 0)
    given_D = infer_states(model, observations, [D.expand(AGENTS, -1) for D in model.D])
    for prior in (None, model.D):
        close(infer_states(model, observations, prior).free_energy, given_D.free_energy, 0)


@pytest.mark.parametrize("method", ["fixed-point", "joint"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_impossible_outcome_leaves_finite_beliefs(method: str, dtype: torch.dtype) -> None:
    model = GenerativeModel.from_arrays([[[1.0, 1.0], [0.0, 0.0]]], [[[[1.0], [0.0]], [[0.0], [1.0]]]], dtype=dtype)
    prior = [torch.tensor([[1.0, 0.0]], dtype=dtype)]
    inferred = infer_states(model, [torch.tensor([1])], prior, method=method)  # type: ignore[arg-type]
    torch.testing.assert_close(inferred.beliefs[0], prior[0])
    assert float(inferred.free_energy) == pytest.approx(-math.log(torch.finfo(dtype).eps), rel=1e-5)


@given(structures(), SEEDS)
@settings(max_examples=20)
def test_prediction_moves_each_factor_by_its_own_action(structure: Structure, seed: int) -> None:
    model = build(structure, seed, agents=AGENTS if seed % 2 else None)
    beliefs = random_beliefs(model, AGENTS, seed)
    rng = np.random.default_rng(seed)
    actions = torch.from_numpy(rng.integers(0, structure.actions, (AGENTS, len(structure.actions))))
    for f, predicted in enumerate(predict_states(model, beliefs, actions)):
        for n in range(AGENTS):
            B = of_agent(model.B, n)[f]
            close(predicted[n], torch.from_numpy(B[:, :, int(actions[n, f])] @ beliefs[f][n].numpy()))


@example(MIXED, 1)
@example(PAIR, 2)
@given(structures(), SEEDS)
@settings(max_examples=20)
def test_evidence_of_actions_is_the_probability_of_what_was_seen_after_each(structure: Structure, seed: int) -> None:
    model = build(structure, seed, agents=AGENTS if seed % 2 else None)
    before, observations = random_beliefs(model, AGENTS, seed), random_observations(model, AGENTS, seed)
    evidence = evidence_of_actions(model, before, observations)
    for i, action in enumerate(first_actions(model)):
        after = predict_states(model, before, action.expand(AGENTS, -1))
        expected = torch.zeros(AGENTS, dtype=torch.float64)
        for m in range(len(model.modalities)):
            only = tuple(o if k == m else torch.full_like(o, -1) for k, o in enumerate(observations))
            expected -= infer_states(model, only, after, method="joint").free_energy
        close(evidence[:, i], expected)


def test_nobody_infers_nothing() -> None:
    model = build(COUPLED, 0)
    inferred = infer_states(model, (torch.zeros(0, dtype=torch.int64),) * 3)
    assert [tuple(q.shape) for q in inferred.beliefs] == [(0, 3), (0, 2)]
    assert inferred.free_energy.shape == (0,)


ZERO = torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("observations", "prior", "message"),
    [
        ((ZERO, ZERO), None, "observations has length 2; write 3 tensors, one for each modality"),
        ((ZERO,) * 3, [torch.ones(2, 3) / 3], "prior has length 1; write 2 tensors, one for each factor"),
        ((ZERO, ZERO[:1], ZERO), None, "modality 'modality_1' has 1 observations, not 2; write one per agent"),
        ((ZERO,) * 3, [torch.ones(2, 3) / 3, torch.ones(3, 2) / 2], "factor 'factor_1' has shape (3, 2); write (2, 2)"),
        ((ZERO, ZERO + 3, ZERO), None, "an outcome of modality 'modality_1' is outside 0..2 (-1: not observed)"),
        ((ZERO, ZERO - 2, ZERO), None, "an outcome of modality 'modality_1' is outside 0..2"),
        ((ZERO, ZERO, torch.ones(2, 5)), None, "evidence of modality 'modality_2' has shape (2, 5); write (2, 2)"),
    ],
)
def test_errors_say_what_does_not_fit(
    observations: tuple[Tensor, ...], prior: list[Tensor] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        infer_states(build(COUPLED, 0), observations, prior)


def test_another_method_is_refused() -> None:
    with pytest.raises(ValueError, match="method is 'exact'; write 'fixed-point' or 'joint'"):
        infer_states(build(SIMPLE, 0), [ZERO], method="exact")  # type: ignore[arg-type]
