"""The policy posterior and the action that follows from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from random_models import SEEDS, Structure, build, columns, structures
from torch import Tensor

from cognitive_actors.core.philox import Philox
from cognitive_actors.core.policies import policy_actions
from cognitive_actors.core.selection import (
    TIE_TOLERANCE,
    Mode,
    action_marginals,
    most_probable,
    policy_posterior,
    sample,
    select_action,
)

MANY = 40_000


def posterior(structure: Structure, agents: int, seed: int) -> Tensor:
    return torch.tensor(columns(np.random.default_rng(seed), structure.policies, agents).T.copy())


def assert_frequencies(drawn: Tensor, probabilities: Tensor) -> None:
    """Within five standard errors of a binomial."""
    for i, p in enumerate(probabilities.tolist()):
        error = math.sqrt(p * (1 - p) / len(drawn))
        assert float((drawn == i).double().mean()) == pytest.approx(p, abs=5 * error + 1e-12)


def test_posterior_is_the_softmax_of_precision_times_G_and_habits() -> None:
    G = torch.tensor([[1.0, 2.0, 0.5], [3.0, 1.0, 1.0]], dtype=torch.float64)
    habits = torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
    precision, weight = torch.tensor([1.0, 4.0]), torch.tensor([0.0, 2.0])
    q = policy_posterior(G, precision, habits, weight)
    for n in range(2):
        unnormalised = np.exp(-float(precision[n]) * G[n].numpy()) * habits[0].numpy() ** float(weight[n])
        assert q[n].tolist() == pytest.approx(unnormalised / unnormalised.sum(), abs=1e-12)
    torch.testing.assert_close(policy_posterior(G), torch.softmax(-G, dim=-1), rtol=0, atol=0)
    torch.testing.assert_close(policy_posterior(G, 2.0, habits, 0.0), torch.softmax(-2 * G, dim=-1))


def test_posterior_keeps_the_precision_of_G() -> None:
    double = torch.ones(2, dtype=torch.float64)
    assert policy_posterior(torch.ones(2, 3), double, torch.full((1, 3), 1 / 3), double).dtype == torch.float32


@given(structures(), SEEDS)
@settings(max_examples=30)
def test_marginals_sum_the_policies_that_begin_with_an_action(structure: Structure, seed: int) -> None:
    model, p = build(structure, seed), posterior(structure, 3, seed)
    first = policy_actions(model)[:, 0]
    for f, marginal in enumerate(action_marginals(p, structure.actions)):
        for u in range(structure.actions[f]):
            torch.testing.assert_close(marginal[:, u], p[:, first[:, f] == u].sum(dim=1), rtol=0, atol=1e-14)


@given(structures(), SEEDS)
@settings(max_examples=30)
def test_the_most_probable_action_is_taken(structure: Structure, seed: int) -> None:
    model, p = build(structure, seed), posterior(structure, 3, seed)
    full = policy_actions(model)[most_probable(p), 0]
    assert torch.equal(select_action(p, structure.actions, mode="full"), full)
    each = [most_probable(m) for m in action_marginals(p, structure.actions)]
    assert torch.equal(select_action(p, structure.actions), torch.stack(each, dim=1))


def test_marginal_and_full_may_differ() -> None:
    """The best single policy begins with the second action, but most policies with the first."""
    p = torch.tensor([[0.3, 0.3, 0.4, 0.0]])
    assert select_action(p, (2,)).tolist() == [[0]]
    assert select_action(p, (2,), mode="full").tolist() == [[1]]


def test_ties_within_tolerance_take_the_first_and_differences_beyond_it_count() -> None:
    p = torch.tensor([[0.2, 0.4, 0.4], [0.2, 0.4, 0.4], [0.4, 0.2, 0.4]], dtype=torch.float64)
    p[0, 2] *= 1 + 0.9 * TIE_TOLERANCE
    p[1, 2] *= 1 + 1.1 * TIE_TOLERANCE
    p[2, 2] *= 1 + 1e-12
    assert most_probable(p).tolist() == [1, 2, 0]
    assert most_probable(torch.full((1, 7), 1 / 7)).tolist() == [0]


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("mode", ["marginal", "full"])
def test_actions_are_drawn_with_their_probabilities(mode: Mode, alpha: float) -> None:
    structure = Structure((2, 2), (2, 3), (2,), ((0,),), 1)
    p = posterior(structure, 1, 3)
    drawn = select_action(
        p.expand(MANY, -1), structure.actions, mode=mode, alpha=alpha, generator=Philox(5), agents=torch.arange(MANY)
    )
    if mode == "full":
        assert_frequencies(drawn[:, 0] * 3 + drawn[:, 1], torch.softmax(alpha * p[0].log(), dim=-1))
        return
    for f, marginal in enumerate(action_marginals(p, structure.actions)):
        assert_frequencies(drawn[:, f], torch.softmax(alpha * marginal[0].log(), dim=-1))


def test_factors_are_drawn_independently_of_each_other_in_marginal_mode() -> None:
    p = torch.full((MANY, 4), 0.25)
    drawn = select_action(p, (2, 2), alpha=1.0, generator=Philox(1))
    assert_frequencies(drawn[:, 0] * 2 + drawn[:, 1], torch.full((4,), 0.25))


def test_a_draw_follows_the_agent_and_its_step_not_the_batch() -> None:
    p, agents, steps = posterior(Structure((2,), (3,), (2,), ((0,),), 2), 6, 0), torch.arange(100, 106), torch.arange(6)
    drawn = select_action(p, (3,), alpha=1.0, generator=Philox(9), agents=agents, step=steps)
    for n in range(6):
        one = slice(n, n + 1)
        alone = select_action(p[one], (3,), alpha=1.0, generator=Philox(9), agents=agents[one], step=int(steps[n]))
        assert torch.equal(alone, drawn[one])


def test_sampling_by_inversion_never_draws_what_has_no_probability() -> None:
    p = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]] * 4)
    uniform = torch.tensor([0.0, 0.5 - 1e-16, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert sample(p, uniform).tolist() == [1, 1, 3, 3]
    # float32 probabilities that sum to less than one are stretched, not topped up with the last.
    short = torch.tensor([[0.3, 0.3, 0.0]])
    assert sample(short, torch.tensor([0.999], dtype=torch.float64)).tolist() == [1]


def test_errors_say_what_to_write() -> None:
    p = torch.full((1, 2), 0.5)
    with pytest.raises(ValueError, match=r"sampling needs a generator; write generator=Philox\(seed\), or alpha=None"):
        select_action(p, (2,), alpha=1.0)
    with pytest.raises(ValueError, match="mode is 'best'; write 'marginal' or 'full'"):
        select_action(p, (2,), mode="best")  # type: ignore[arg-type]
