"""Expected free energy against a plain loop over policies, whichever way it is computed."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from random_models import MIXED, PAIR, SEEDS, Structure, build, of_agent, random_beliefs, structures
from torch import Tensor

from cognitive_actors.core import expected_free_energy, fused_tree
from cognitive_actors.core.expected_free_energy import Planner, joint_state_information_gain
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.novelty import novelty_weights

AGENTS = 3
NAMES = ("risk", "ambiguity", "utility", "state", "likelihood", "transition")


def entropy(p: np.ndarray) -> float:
    return -math.fsum(x * math.log(x) for x in p.ravel().tolist() if x > 0)


def novelty(counts: np.ndarray) -> np.ndarray:
    """Da Costa et al. 2020, equation D.15, digamma by digamma; the sign turned."""
    total = counts.sum(axis=0, keepdims=True)
    digamma = torch.digamma(torch.from_numpy(counts)).numpy() - torch.digamma(torch.from_numpy(total)).numpy()
    gain: np.ndarray = np.log(total) - np.log(counts) + 1 / counts - 1 / total + digamma
    return gain


def looped(model: GenerativeModel, beliefs: tuple[Tensor, ...], agent: int) -> dict[str, np.ndarray]:
    """Every term (policies, horizon) of one agent, policy by policy and step by step."""
    A, B, C = (of_agent(x, agent) for x in (model.A, model.B, model.C))
    pA = of_agent(model.pA, agent) if model.pA is not None else None
    pB = of_agent(model.pB, agent) if model.pB is not None else None
    step = list(itertools.product(*map(range, model.num_actions)))
    policies = list(itertools.product(step, repeat=model.horizon))
    terms = {name: np.zeros((len(policies), model.horizon)) for name in NAMES}
    for i, policy in enumerate(policies):
        q = [x[agent].double().numpy() for x in beliefs]
        for t, actions in enumerate(policy):
            before, q = q, [b[:, :, u] @ x for b, x, u in zip(B, q, actions, strict=True)]
            for m, modality in enumerate(model.modalities):
                joint = np.ones(())
                for f in modality.factors:
                    joint = np.multiply.outer(joint, q[f])
                outcome = (A[m] * joint).reshape(len(A[m]), -1).sum(axis=1)
                hidden = itertools.product(*map(range, joint.shape))
                ambiguity = sum(joint[s] * entropy(np.moveaxis(A[m], 0, -1)[s]) for s in hidden)
                wanted = C[m][min(t, len(C[m]) - 1)]
                terms["risk"][i, t] += -entropy(outcome) - outcome @ wanted
                terms["ambiguity"][i, t] += ambiguity
                terms["utility"][i, t] += outcome @ wanted
                terms["state"][i, t] += entropy(outcome) - ambiguity
                if pA is not None:
                    gain = (novelty(pA[m]) * joint).reshape(len(outcome), -1).sum(axis=1)
                    terms["likelihood"][i, t] += outcome @ gain
            if pB is not None:
                for f, u in enumerate(actions):
                    terms["transition"][i, t] += q[f] @ novelty(pB[f])[:, :, u] @ before[f]
    return terms


def loop(model: GenerativeModel, beliefs: tuple[Tensor, ...]) -> dict[str, Tensor]:
    every = [looped(model, beliefs, n) for n in range(len(beliefs[0]))]
    return {name: torch.from_numpy(np.stack([terms[name] for terms in every])) for name in NAMES}


def weights(model: GenerativeModel, rows: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(0, 1, (rows, model.horizon)))


def close(x: Tensor, y: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


@example(MIXED, 0, True, AGENTS)
@example(PAIR, 0, True, 1)
@given(structures(), SEEDS, st.booleans(), st.sampled_from([1, AGENTS]))
@settings(max_examples=60)
def test_fused_tree_and_prefix_tree_equal_the_loop(structure: Structure, seed: int, changing: bool, rows: int) -> None:
    model = build(structure, seed, changing=changing)
    beliefs = random_beliefs(model, AGENTS, seed)
    terms = loop(model, beliefs)
    w = weights(model, rows, seed)
    fused = Planner(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_tree, "MAX_ELEMENTS", 0)
        tree = Planner(model)
    assert fused.fused is not None and tree.fused is None
    for planner in (fused, tree):
        close(planner.expected_free_energy(beliefs), (terms["risk"] + terms["ambiguity"]).sum(-1))
        weighted = (terms["risk"] + terms["ambiguity"]) * w[:, None]
        close(planner.expected_free_energy(beliefs, w), weighted.sum(-1))


@example(MIXED, 0, True, True)
@example(PAIR, 0, True, False)
@given(structures(), SEEDS, st.booleans(), st.booleans())
@settings(max_examples=60)
def test_every_term_equals_the_loop(structure: Structure, seed: int, changing: bool, own: bool) -> None:
    model = build(structure, seed, agents=AGENTS if own else None, counts=True, changing=changing)
    beliefs = random_beliefs(model, AGENTS, seed)
    expected = loop(model, beliefs)
    planner = Planner(model, parameter_information_gain=True)
    terms = planner.decompose(beliefs)
    close(terms.risk, expected["risk"])
    close(terms.ambiguity, expected["ambiguity"])
    close(terms.utility, expected["utility"])
    close(terms.state_information_gain, expected["state"])
    close(terms.likelihood_information_gain, expected["likelihood"])
    close(terms.transition_information_gain, expected["transition"])
    w = weights(model, AGENTS, seed)
    each = expected["risk"] + expected["ambiguity"] - expected["likelihood"] - expected["transition"]
    close(planner.expected_free_energy(beliefs), each.sum(-1))
    close(planner.expected_free_energy(beliefs, w), (each * w[:, None]).sum(-1))


@given(structures(), SEEDS)
@settings(max_examples=60)
def test_both_decompositions_sum_to_the_total_and_gains_are_not_negative(structure: Structure, seed: int) -> None:
    model = build(structure, seed, counts=True)
    beliefs = random_beliefs(model, AGENTS, seed)
    planner = Planner(model, parameter_information_gain=True)
    terms = planner.decompose(beliefs)
    gains = terms.likelihood_information_gain + terms.transition_information_gain
    close(terms.risk + terms.ambiguity, -terms.utility - terms.state_information_gain)
    close(terms.total, (-terms.utility - terms.state_information_gain - gains).sum(-1))
    close(terms.total, planner.expected_free_energy(beliefs))
    assert float(terms.state_information_gain.min()) >= -1e-14
    assert float(terms.risk.min()) >= -1e-14
    assert float(terms.likelihood_information_gain.min()) >= 0
    assert float(terms.transition_information_gain.min()) >= 0


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("only", ["pA", "pB"])
def test_counts_of_one_kind_alone(own: bool, only: str) -> None:
    model = build(MIXED, 2, agents=AGENTS if own else None, counts=True)
    model = replace(model, **{"pB" if only == "pA" else "pA": None})  # type: ignore[arg-type]
    beliefs = random_beliefs(model, AGENTS, 2)
    expected = loop(model, beliefs)
    G = expected["risk"] + expected["ambiguity"] - expected["likelihood"] - expected["transition"]
    close(Planner(model, parameter_information_gain=True).expected_free_energy(beliefs), G.sum(-1))


@pytest.mark.parametrize("counts", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_switches_leave_terms_out(counts: bool, fused: bool) -> None:
    model = build(MIXED, 3, counts=True)
    beliefs = random_beliefs(model, AGENTS, 3)
    expected = {name: x.sum(-1) for name, x in loop(model, beliefs).items()}
    parameters = (expected["likelihood"] + expected["transition"]) * counts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_tree, "MAX_ELEMENTS", (1 << 20) * fused)
        for utility, states in itertools.product((False, True), repeat=2):
            planner = Planner(model, utility=utility, state_information_gain=states, parameter_information_gain=counts)
            assert (planner.fused is not None) == (fused and not counts)
            G = -expected["utility"] * utility - expected["state"] * states - parameters
            close(planner.expected_free_energy(beliefs), G)


@example(MIXED, 0, True, True)
@example(PAIR, 0, False, False)
@given(structures(), SEEDS, st.booleans(), st.booleans())
@settings(max_examples=20)
def test_chunks_cannot_be_seen(structure: Structure, seed: int, own: bool, counts: bool) -> None:
    model = build(structure, seed, agents=5 if own else None, counts=counts)
    beliefs, w = random_beliefs(model, 5, seed), weights(model, 5, seed)
    whole = Planner(model, parameter_information_gain=counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expected_free_energy, "CHUNK_BYTES", 1)
        small = Planner(model, parameter_information_gain=counts)
    assert small.chunk == 1 and whole.chunk > 5
    # Two at a time, too: the last chunk is then a smaller one.
    for chunk, step_weights in itertools.product((1, 2), (None, w, w[:1])):
        small.chunk = chunk
        G = whole.expected_free_energy(beliefs, step_weights)
        close(small.expected_free_energy(beliefs, step_weights), G, 1e-13)


@given(structures(), SEEDS)
@settings(max_examples=20)
def test_float32_stays_close_to_float64(structure: Structure, seed: int) -> None:
    model = build(structure, seed, counts=True, changing=True)
    beliefs = random_beliefs(model, AGENTS, seed)
    exact = Planner(model, parameter_information_gain=True).expected_free_energy(beliefs)
    single = Planner(model.to(dtype=torch.float32), parameter_information_gain=True)
    G = single.expected_free_energy(tuple(q.float() for q in beliefs), weights(model, 1, 0).clamp_min(1))
    assert G.dtype == torch.float32
    torch.testing.assert_close(G.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_certainty_and_impossibility_are_evaluated_without_infinities(fused: bool) -> None:
    """A maze of certain moves: G is the surprise of where each policy ends, nothing else."""
    stay, go = np.eye(3), np.roll(np.eye(3), 1, axis=0)
    C = np.log(np.array([0.7, 0.2, 0.1]))
    model = GenerativeModel.from_arrays([np.eye(3)], [np.stack([stay, go], -1)], [C], horizon=2, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_tree, "MAX_ELEMENTS", (1 << 20) * fused)
        G = Planner(model).expected_free_energy((torch.tensor([[1.0, 0, 0]], dtype=torch.float64),))
    ends = [[0, 0], [0, 1], [1, 1], [1, 2]]
    torch.testing.assert_close(G[0], torch.tensor([-C[e].sum() for e in ends]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_novelty_is_the_divergence_that_one_more_count_makes(scale: float, dtype: torch.dtype) -> None:
    """KL between the Dirichlet distributions after and before, from few counts to more than float32 resolves."""
    counts = torch.tensor([0.3, 1.7, 2.0], dtype=torch.float64) * scale
    before = torch.distributions.Dirichlet(counts)
    expected = [
        float(torch.distributions.kl_divergence(torch.distributions.Dirichlet(counts + torch.eye(3)[i]), before))
        for i in range(3)
    ]
    weight = novelty_weights(counts.to(dtype)[None])[0]
    assert weight.dtype == dtype and float(weight.min()) >= 0
    # The reference itself cancels where it is small.
    assert weight.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_exact_information_gain_counts_a_modality_seen_twice_once() -> None:
    one = build(Structure((3,), (2,), (4,), ((0,),), 1), 1)
    twice = replace(one, A=one.A * 2, C=one.C * 2, modalities=one.modalities * 2)
    beliefs = random_beliefs(one, AGENTS, 1)
    # A third state that tells the outcome apart in neither copy, and a copy that repeats: certain likelihoods.
    certain = torch.eye(3, dtype=torch.float64)[None]
    same = replace(twice, A=(certain, certain))
    close(
        joint_state_information_gain(replace(one, A=(certain,)), beliefs), joint_state_information_gain(same, beliefs)
    )
    # Independent noise on the second look tells something, but less than a second first look.
    single, double = (joint_state_information_gain(m, beliefs) for m in (one, twice))
    assert bool((double > single + 1e-6).all()) and bool((double < 2 * single).all())


@given(structures(), SEEDS)
@settings(max_examples=20)
def test_exact_information_gain_is_the_mutual_information(structure: Structure, seed: int) -> None:
    model = build(structure, seed, agents=AGENTS if seed % 2 else None)
    beliefs = random_beliefs(model, AGENTS, seed)
    gain = joint_state_information_gain(model, beliefs)
    for n in range(AGENTS):
        A, q = of_agent(model.A, n), [x[n].numpy() for x in beliefs]
        information = 0.0
        evidence: dict[tuple[int, ...], float] = {}
        joint: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[float, float]] = {}
        for states in itertools.product(*map(range, model.num_states)):
            p = math.prod(x[s] for x, s in zip(q, states, strict=True))
            for o in itertools.product(*map(range, model.num_outcomes)):
                likelihood = math.prod(A[m][(o[m], *(states[f] for f in d))] for m, d in enumerate(model.dependencies))
                joint[states, o] = (p, likelihood)
                evidence[o] = evidence.get(o, 0.0) + p * likelihood
        for (_, o), (p, likelihood) in joint.items():
            information += p * likelihood * math.log(likelihood / evidence[o])
        assert float(gain[n]) == pytest.approx(information, abs=1e-12)


def test_nobody_plans_nothing() -> None:
    for model in (build(MIXED, 0), build(MIXED, 0, counts=True)):
        planner = Planner(model, parameter_information_gain=model.pA is not None)
        beliefs = tuple(torch.zeros(0, s, dtype=torch.float64) for s in model.num_states)
        assert planner.expected_free_energy(beliefs).shape == (0, 36)
        assert planner.decompose(beliefs).risk.shape == (0, 36, 2)


def test_errors_say_what_does_not_fit() -> None:
    model = build(MIXED, 0, agents=2)
    with pytest.raises(ValueError, match="needs Dirichlet counts: give the model pA or pB, or leave it out"):
        Planner(model, parameter_information_gain=True)
    planner, beliefs = Planner(model), random_beliefs(model, AGENTS, 0)
    for call in (planner.expected_free_energy, planner.decompose):
        with pytest.raises(ValueError, match="beliefs are of 3 agents; write those of the 2 that the model is for"):
            call(beliefs)
    with pytest.raises(ValueError, match=re.escape("step_weights has shape (2, 3); write (2, 2), or one row")):
        planner.expected_free_energy(random_beliefs(model, 2, 0), torch.ones(2, 3))
