"""Terms of free energy against enumeration, the gradient against finite differences, descent that never climbs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_models import (
    MIXED,
    PAIR,
    SEEDS,
    Structure,
    build,
    of_agent,
    random_beliefs,
    random_observations,
    structures,
)
from torch import Tensor

from cognitive_actors.core.energy import descend, energies, exact_terms, gradient, variational_terms
from cognitive_actors.core.expected_free_energy import Planner
from cognitive_actors.core.inference import infer_states
from cognitive_actors.core.model import GenerativeModel

AGENTS = 3
SIMPLE = Structure((3,), (2,), (4,), ((0,),), 1)
COUPLED = Structure((3, 2), (2, 3), (2, 3, 2), ((1, 0), (0, 1), (1,)), 1)
quick = settings(max_examples=40)
Case = tuple[GenerativeModel, tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]


def close(x: Tensor, y: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(x, y, rtol=0, atol=tolerance)


def case(structure: Structure, seed: int, dtype: torch.dtype = torch.float64) -> Case:
    """A model, shared or not, observations, some of them missing, beliefs and a prior."""
    model = build(structure, seed, agents=AGENTS if seed % 2 else None, dtype=dtype)
    return (
        model,
        random_observations(model, AGENTS, seed),
        random_beliefs(model, AGENTS, seed),
        random_beliefs(model, AGENTS, seed + 1),
    )


def by_enumeration(
    model: GenerativeModel, observations: tuple[Tensor, ...], q: np.ndarray, prior: tuple[Tensor, ...], agent: int
) -> tuple[float, list[float]]:
    """Complexity and accuracy by modality of a joint belief q over all states, by a plain loop."""
    complexity, accuracy = 0.0, [0.0] * len(model.modalities)
    for states in itertools.product(*map(range, model.num_states)):
        weight = float(q[states])
        p = math.prod(float(x[agent, s]) for x, s in zip(prior, states, strict=True))
        complexity += weight * (math.log(weight) - math.log(p))
        for m, (a, modality) in enumerate(zip(of_agent(model.A, agent), model.modalities, strict=True)):
            o = int(observations[m][agent])
            if o >= 0:
                accuracy[m] += weight * math.log(a[(o, *(states[f] for f in modality.factors))])
    return complexity, accuracy


@example(MIXED, 1)
@example(PAIR, 2)
@given(structures(), SEEDS)
@quick
def test_terms_equal_enumeration(structure: Structure, seed: int) -> None:
    model, observations, beliefs, prior = case(structure, seed)
    terms = variational_terms(model, observations, beliefs, prior)
    for agent in range(AGENTS):
        joint = np.array(1.0)
        for q in beliefs:
            joint = np.multiply.outer(joint, q[agent].numpy())
        complexity, accuracy = by_enumeration(model, observations, joint, prior, agent)
        # Of a product of beliefs, the divergences of the factors add up to that of the joint belief.
        assert float(terms.complexity[agent].sum()) == pytest.approx(complexity, abs=1e-12)
        assert terms.accuracy[agent].tolist() == pytest.approx(accuracy, abs=1e-12)
        assert float(terms.free_energy[agent]) == pytest.approx(complexity - sum(accuracy), abs=1e-12)
    for f, (q, p) in enumerate(zip(beliefs, prior, strict=True)):
        close(terms.complexity[:, f], torch.nn.functional.kl_div(p.log(), q, reduction="none").sum(dim=1))


@example(MIXED, 3)
@given(structures(), SEEDS)
@quick
def test_terms_sum_to_the_free_energy_of_inference(structure: Structure, seed: int) -> None:
    model, observations, _, prior = case(structure, seed)
    inferred = infer_states(model, observations, prior)
    close(variational_terms(model, observations, inferred.beliefs, prior).free_energy, inferred.free_energy)
    without = infer_states(model, observations)
    close(variational_terms(model, observations, without.beliefs).free_energy, without.free_energy)


@example(MIXED, 4)
@example(PAIR, 5)
@given(structures(), SEEDS)
@quick
def test_exact_terms_sum_to_the_least_free_energy_there_is(structure: Structure, seed: int) -> None:
    model, observations, beliefs, prior = case(structure, seed)
    terms, inferred = exact_terms(model, observations, prior), infer_states(model, observations, prior, method="joint")
    close(terms.free_energy, inferred.free_energy)
    for q in (beliefs, inferred.beliefs, infer_states(model, observations, prior).beliefs):
        assert bool((variational_terms(model, observations, q, prior).free_energy >= terms.free_energy - 1e-12).all())
    for agent in range(AGENTS):
        posterior = np.zeros(model.num_states)
        for states in itertools.product(*map(range, model.num_states)):
            p = math.prod(float(x[agent, s]) for x, s in zip(prior, states, strict=True))
            for o, a, modality in zip(observations, of_agent(model.A, agent), model.modalities, strict=True):
                if int(o[agent]) >= 0:
                    p *= a[(int(o[agent]), *(states[f] for f in modality.factors))]
            posterior[states] = p
        complexity, accuracy = by_enumeration(model, observations, posterior / posterior.sum(), prior, agent)
        assert float(terms.complexity[agent, 0]) == pytest.approx(complexity, abs=1e-11)
        assert terms.accuracy[agent].tolist() == pytest.approx(accuracy, abs=1e-11)


@given(SEEDS)
@quick
def test_with_one_factor_inference_is_at_the_minimum(seed: int) -> None:
    """The exact posterior has the exact terms, no gradient, and all else costs the divergence from it."""
    model, observations, beliefs, prior = case(SIMPLE, seed)
    posterior = infer_states(model, observations, prior).beliefs
    terms, exact = variational_terms(model, observations, posterior, prior), exact_terms(model, observations, prior)
    close(terms.complexity, exact.complexity)
    close(terms.accuracy, exact.accuracy)
    close(gradient(model, observations, posterior, prior)[0], torch.zeros(AGENTS, 3, dtype=torch.float64), 1e-14)
    divergence = (beliefs[0] * (beliefs[0].log() - posterior[0].log())).sum(dim=1)
    other = variational_terms(model, observations, beliefs, prior).free_energy
    close(other - exact.free_energy, divergence)


def test_terms_by_hand() -> None:
    """Prior (1/2, 1/2), belief (3/4, 1/4), P(o|s) = (.8, .4): KL = ln 2 + .75 ln .75 + .25 ln .25."""
    model = GenerativeModel.from_arrays([[[0.8, 0.4], [0.2, 0.6]]], [np.eye(2)[:, :, None]], dtype=torch.float64)
    belief = torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    terms = variational_terms(model, [torch.tensor([0])], [belief])
    complexity = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    accuracy = 0.75 * math.log(0.8) + 0.25 * math.log(0.4)
    assert terms.complexity.tolist() == [[pytest.approx(complexity, abs=1e-15)]]
    assert terms.accuracy.tolist() == [[pytest.approx(accuracy, abs=1e-15)]]
    # Derivatives by q differ by ln 3 - ln 2, and q (1 - q) = 3/16 of that goes from one logit to the other.
    slope = gradient(model, [torch.tensor([0])], [belief])[0][0].tolist()
    assert slope == pytest.approx([3 / 16 * math.log(1.5), -3 / 16 * math.log(1.5)], abs=1e-15)
    assert float(exact_terms(model, [torch.tensor([0])]).free_energy) == pytest.approx(-math.log(0.6), abs=1e-15)


@example(MIXED, 6)
@example(PAIR, 7)
@given(structures(), SEEDS)
@quick
def test_the_gradient_equals_finite_differences(structure: Structure, seed: int) -> None:
    model, observations, beliefs, prior = case(structure, seed)
    logits = [q.log() + 0.5 for q in beliefs]
    slope = gradient(model, observations, beliefs, prior)
    for f, s in itertools.chain.from_iterable([(f, s) for s in range(n)] for f, n in enumerate(model.num_states)):
        ends = []
        for step in (1e-5, -1e-5):
            moved = [v.clone() for v in logits]
            moved[f][:, s] += step
            q = [torch.softmax(v, dim=-1) for v in moved]
            ends.append(variational_terms(model, observations, q, prior).free_energy)
        close(slope[f][:, s], (ends[0] - ends[1]) / 2e-5, 1e-6)
    for g in slope:
        close(g.sum(dim=1), torch.zeros(AGENTS, dtype=torch.float64), 1e-13)


def test_the_gradient_where_probabilities_are_zero() -> None:
    """What cannot be moved has no slope, and nothing is NaN."""
    model = build(COUPLED, 2)
    observations, beliefs = random_observations(model, 1, 2, 0), random_beliefs(model, 1, 2)
    certain = (torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64), beliefs[1])
    slope = gradient(model, observations, certain)
    assert not slope[0].any() and bool(slope[1].isfinite().all()) and slope[1].any()
    after = descend(model, observations, certain)
    assert bool(after.free_energy.isfinite().all()) and float(after.rate) > 0


@given(SEEDS)
@quick
def test_the_gradient_vanishes_where_inference_settles(seed: int) -> None:
    model, observations, beliefs, prior = case(COUPLED, seed)
    settled = infer_states(model, observations, prior, max_sweeps=500, tolerance=0.0).beliefs
    for g in gradient(model, observations, settled, prior):
        close(g, torch.zeros_like(g), 1e-9)
    assert max(float(g.abs().max()) for g in gradient(model, observations, beliefs, prior)) > 1e-4


@example(PAIR, 2, 1e6)
@given(structures(), SEEDS, st.floats(1e-3, 1e4))
@quick
def test_descent_never_climbs(structure: Structure, seed: int, rate: float) -> None:
    """However large the steps are that it is told to try."""
    model, observations, beliefs, prior = case(structure, seed)
    before = variational_terms(model, observations, beliefs, prior).free_energy
    for _ in range(4):
        step = descend(model, observations, beliefs, prior, rate=rate)
        assert bool((step.free_energy <= before).all())
        close(variational_terms(model, observations, step.beliefs, prior).free_energy, step.free_energy)
        assert bool((step.rate <= rate).all())
        beliefs, before = step.beliefs, step.free_energy


def test_a_step_is_the_gradient_times_its_rate() -> None:
    model, observations, beliefs, prior = case(COUPLED, 8)
    step = descend(model, observations, beliefs, prior, rate=0.1)
    assert step.rate.tolist() == [0.1] * AGENTS
    for q, g, after in zip(beliefs, gradient(model, observations, beliefs, prior), step.beliefs, strict=True):
        close(after, torch.softmax(q.log() - 0.1 * g, dim=-1))
    lower = variational_terms(model, observations, beliefs, prior).free_energy
    assert bool((step.free_energy < lower).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_descent_arrives_where_bayes_does(dtype: torch.dtype) -> None:
    model, observations, beliefs, prior = case(SIMPLE, 9, dtype=dtype)
    for _ in range(400):
        beliefs = descend(model, observations, beliefs, prior, rate=8.0).beliefs
    exact = infer_states(model, observations, prior).beliefs
    close(beliefs[0], exact[0], 1e-3 if dtype == torch.float32 else 1e-7)


def test_at_the_minimum_descent_stays() -> None:
    model, observations, _, prior = case(SIMPLE, 10)
    exact = infer_states(model, observations, prior)
    step = descend(model, observations, exact.beliefs, prior)
    close(step.beliefs[0], exact.beliefs[0], 1e-14)
    assert bool((step.free_energy <= exact.free_energy + 1e-15).all())


def test_an_agent_is_not_touched_by_its_neighbours() -> None:
    model = build(COUPLED, 4)
    observations, beliefs = random_observations(model, 6, 4), random_beliefs(model, 6, 4)
    together = descend(model, observations, beliefs, rate=50.0)
    for n in range(6):
        one = slice(n, n + 1)
        alone = descend(model, [o[one] for o in observations], [q[one] for q in beliefs], rate=50.0)
        assert torch.equal(alone.rate, together.rate[one])
        for x, y in zip(alone.beliefs, together.beliefs, strict=True):
            close(x, y[one], 1e-14)
    assert len(set(together.rate.tolist())) > 1


@pytest.mark.parametrize("counts", [False, True])
def test_expected_free_energy_stands_beside(counts: bool) -> None:
    model = build(MIXED, 5, counts=counts)
    observations, beliefs = random_observations(model, AGENTS, 5), random_beliefs(model, AGENTS, 5)
    planner = Planner(model, parameter_information_gain=counts)
    both = energies(planner, observations, beliefs)
    close(both.expected.total, planner.expected_free_energy(beliefs), 1e-11)
    close(both.variational.free_energy, variational_terms(model, observations, beliefs).free_energy, 0)
    outcome = both.expected.risk + both.expected.ambiguity
    close(outcome, -both.expected.utility - both.expected.state_information_gain, 1e-11)
    assert bool(both.expected.likelihood_information_gain.any()) == counts


def test_soft_evidence_and_one_prior_for_all() -> None:
    model = build(COUPLED, 6)
    observations, beliefs = random_observations(model, AGENTS, 6, 0), random_beliefs(model, AGENTS, 6)
    certain = [
        torch.nn.functional.one_hot(o, k).double() for o, k in zip(observations, model.num_outcomes, strict=True)
    ]
    hard, soft = (variational_terms(model, o, beliefs, model.D) for o in (observations, certain))
    close(hard.accuracy, soft.accuracy)
    close(hard.complexity, variational_terms(model, observations, beliefs).complexity, 0)


def test_what_is_refused() -> None:
    model = build(COUPLED, 7)
    observations, beliefs = random_observations(model, AGENTS, 7), random_beliefs(model, AGENTS, 7)
    for call in (variational_terms, gradient, descend):
        for q, said in (
            (beliefs[:1], "beliefs has length 1; write 2 tensors, one for each factor"),
            ((beliefs[0], beliefs[1][:1]), r"beliefs\[1\] \('factor_1'\) has shape \(1, 2\); write \(3, 2\)"),
            ((beliefs[0] * math.nan, beliefs[1]), r"beliefs\[0\] .*\[0\] of agent 0 is nan; write a finite number"),
            ((beliefs[0] * 2, beliefs[1]), r"beliefs\[0\] .* of agent 0 sums to 2, not 1"),
            ((beliefs[0] - 1, beliefs[1]), r"write a probability between 0 and 1"),
            ((beliefs[0].float(), beliefs[1]), r"is torch.float32; write torch.float64, as the model is"),
        ):
            with pytest.raises(ValueError, match=said):
                call(model, observations, q)
        with pytest.raises(ValueError, match=r"prior\[0\] .* sums to"):
            call(model, observations, beliefs, (beliefs[0] * 3, beliefs[1]))
        with pytest.raises(ValueError, match=r"an outcome of modality 'modality_0' is outside 0\.\.1"):
            call(model, (observations[0] + 9, *observations[1:]), beliefs)
    with pytest.raises(ValueError, match="observations are of 2 agents; write those of the 3"):
        exact_terms(build(COUPLED, 7, agents=3), [o[:2] for o in observations], [q[:2] for q in beliefs])
    for rate in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"rate is {rate}; write a finite number greater than zero"):
            descend(model, observations, beliefs, rate=rate)
