"""The engine against numbers made with pymdp 1.0.4 (tests/reference/make_reference.py)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cognitive_actors.core.expected_free_energy import Planner, joint_state_information_gain
from cognitive_actors.core.inference import infer_states, predict_states
from cognitive_actors.core.learning import (
    expected_distribution,
    own_counts,
    update_initial_counts,
    update_likelihood_counts,
    update_transition_counts,
    with_counts,
)
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.policies import policy_actions
from cognitive_actors.core.selection import action_marginals, policy_posterior, select_action

NUMBERS = np.load(Path(__file__).parents[1] / "reference" / "pymdp-1.0.4.npz")
CASES = ("one_factor", "two_modalities", "two_factors", "t_maze", "two_controls", "changing_preferences")
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}


@dataclass(frozen=True)
class Case:
    """One case of the reference, in one precision."""

    name: str
    dtype: torch.dtype

    def __call__(self, key: str) -> Tensor:
        x = torch.as_tensor(NUMBERS[f"{self.name}/{key}"])
        return x.to(self.dtype) if x.is_floating_point() else x

    def series(self, key: str) -> tuple[Tensor, ...]:
        """The arrays key_0, key_1, ..."""
        count = 0
        while f"{self.name}/{key}_{count}" in NUMBERS:
            count += 1
        return tuple(self(f"{key}_{i}") for i in range(count))

    @cached_property
    def model(self) -> GenerativeModel:
        arrays: dict[str, Any] = {
            label: self.series(f"model/{label}") for label in ("A", "B", "C", "D", "pA", "pB", "pD")
        }
        return GenerativeModel.from_arrays(
            **arrays,
            E=self("model/E"),
            dependencies=[d.tolist() for d in self.series("model/dependencies")],
            horizon=int(self("model/horizon")),
            dtype=self.dtype,
        )

    def check(self, ours: Tensor, key: str) -> None:
        theirs = self(key)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[self.dtype], msg=lambda m: f"{key}: {m}")


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, dtype: torch.dtype) -> Case:
    return Case(request.param, dtype)


@pytest.mark.parametrize("step", [0, 1])
def test_beliefs_and_free_energy(case: Case, step: int) -> None:
    inference = infer_states(
        case.model,
        case.series(f"model/observations_{step}"),
        case.series(f"pymdp/prior_{step}"),
        max_sweeps=200,
        tolerance=0.0,
    )
    for f, q in enumerate(inference.beliefs):
        case.check(q, f"pymdp/beliefs_{step}_{f}")
    case.check(inference.free_energy, f"pymdp/free_energy_{step}")


def test_soft_evidence(case: Case) -> None:
    if case.name == "t_maze" and case.dtype == torch.float32:
        pytest.skip("evidence for what cannot be: decided by the floor of the logarithm, which float32 sets higher")
    inference = infer_states(
        case.model, case.series("model/soft"), case.series("model/priors"), max_sweeps=200, tolerance=0.0
    )
    for f, q in enumerate(inference.beliefs):
        case.check(q, f"pymdp/soft_beliefs_{f}")
    case.check(inference.free_energy, "pymdp/soft_free_energy")


@pytest.mark.parametrize("step", [0, 1])
def test_exact_joint_posterior(case: Case, step: int) -> None:
    observations, prior = case.series(f"model/observations_{step}"), case.series(f"pymdp/prior_{step}")
    inference = infer_states(case.model, observations, prior, method="joint")
    joint = case(f"enumerated/joint_{step}")
    for f, q in enumerate(inference.beliefs):
        marginal = joint.movedim(1 + f, 1).flatten(2).sum(dim=-1) if joint.dim() > 2 else joint
        torch.testing.assert_close(q, marginal, rtol=0, atol=TOLERANCE[case.dtype])
    case.check(inference.free_energy, f"enumerated/surprise_{step}")


def test_predicted_prior(case: Case) -> None:
    predicted = predict_states(case.model, case.series("pymdp/beliefs_0"), case("model/actions"))
    for f, q in enumerate(predicted):
        case.check(q, f"pymdp/prior_1_{f}")


def test_order_of_policies(case: Case) -> None:
    assert torch.equal(policy_actions(case.model), case("pymdp/policies"))


def test_terms_of_expected_free_energy(case: Case) -> None:
    beliefs = case.series("pymdp/beliefs_0")
    terms = Planner(case.model, parameter_information_gain=True).decompose(beliefs)
    case.check(terms.utility.sum(-1), "pymdp/utility")
    case.check(terms.state_information_gain.sum(-1), "pymdp/state_information_gain")
    case.check(terms.likelihood_information_gain.sum(-1), "pymdp/parameter_information_gain_A")
    case.check(terms.transition_information_gain.sum(-1), "pymdp/parameter_information_gain_B")
    case.check(-(terms.risk + terms.ambiguity).sum(-1), "pymdp/negative_efe")
    case.check(-terms.total, "pymdp/negative_efe_with_parameters")


@pytest.mark.parametrize(
    ("switches", "key"),
    [
        ({}, "negative_efe"),
        ({"parameter_information_gain": True}, "negative_efe_with_parameters"),
        ({"state_information_gain": False}, "utility"),
        ({"utility": False}, "state_information_gain"),
    ],
)
def test_expected_free_energy(case: Case, switches: dict[str, bool], key: str) -> None:
    G = Planner(case.model, **switches).expected_free_energy(case.series("pymdp/beliefs_0"))
    case.check(-G, f"pymdp/{key}")


def test_one_model_per_agent(case: Case) -> None:
    """The same numbers when every agent brings arrays of its own."""
    shared = case.model
    beliefs = case.series("pymdp/beliefs_0")
    arrays: dict[str, Any] = {
        label: [x.expand(len(beliefs[0]), *x.shape[1:]) for x in getattr(shared, label)]
        for label in ("A", "B", "C", "D", "pA", "pB")
    }
    own = GenerativeModel.from_arrays(
        **arrays,
        E=shared.E.expand(len(beliefs[0]), -1),
        dependencies=shared.dependencies,
        horizon=shared.horizon,
        batched=True,
        dtype=case.dtype,
    )
    case.check(-Planner(own).expected_free_energy(beliefs), "pymdp/negative_efe")
    case.check(
        -Planner(own, parameter_information_gain=True).expected_free_energy(beliefs),
        "pymdp/negative_efe_with_parameters",
    )


@pytest.mark.parametrize("precision", [1, 16])
def test_policy_posterior_and_action(case: Case, precision: int) -> None:
    model = case.model
    posterior = policy_posterior(-case("pymdp/negative_efe"), float(precision), model.E)
    case.check(posterior, f"pymdp/policy_posterior_{precision}")
    for f, marginal in enumerate(action_marginals(posterior, model.num_actions)):
        case.check(marginal, f"pymdp/action_marginal_{precision}_{f}")
    assert torch.equal(select_action(posterior, model.num_actions), case(f"pymdp/action_{precision}"))


def test_learning(case: Case) -> None:
    model = own_counts(case.model, agents=len(case("model/actions")))
    first, second = case.series("pymdp/beliefs_0"), case.series("pymdp/beliefs_1")
    for step, beliefs in enumerate((first, second)):
        observations = case.series(f"model/observations_{step}")
        pA = update_likelihood_counts(model, observations, beliefs, rate=float(case("model/rate_A")))
        model = with_counts(model, pA=pA)
    pB = update_transition_counts(model, first, second, case("model/actions"), rate=float(case("model/rate_B")))
    model = with_counts(model, pB=pB)
    for label in ("pA", "pB", "A", "B"):
        for i, x in enumerate(getattr(model, label)):
            case.check(x, f"pymdp/learned_{label}_{i}")
    for f, x in enumerate(update_initial_counts(model, first)):
        case.check(x, f"definition/learned_pD_{f}")
        assert torch.allclose(expected_distribution(x).sum(-1), torch.ones_like(x[:, 0]))


def test_coupled_factors_settle_where_parallel_sweeps_oscillate() -> None:
    """pymdp updates all factors at once and ends, certain, in a state the outcome contradicts."""
    case = Case("coupled_factors", torch.float64)
    observations, prior = case.series("model/observations_0"), case.series("model/priors")
    ours = infer_states(case.model, observations, prior)
    exact = infer_states(case.model, observations, prior, method="joint")
    assert case("pymdp/free_energy_0").item() == pytest.approx(8.7, abs=0.05)
    assert ours.free_energy.item() == pytest.approx(1.43, abs=0.005)
    assert exact.free_energy.item() == pytest.approx(0.734, abs=0.0005)
    case.check(exact.free_energy, "enumerated/surprise_0")


def test_a_modality_seen_twice_informs_once() -> None:
    """Summed over modalities, as G and pymdp do, the gain doubles; the gain of both together does not."""
    case = Case("two_identical_modalities", torch.float64)
    beliefs = case.series("model/priors")
    case.check(Planner(case.model).decompose(beliefs).state_information_gain.sum(-1), "pymdp/state_information_gain")
    assert case("pymdp/state_information_gain").item() == pytest.approx(2 * np.log(2))
    assert joint_state_information_gain(case.model, beliefs).item() == pytest.approx(np.log(2))
