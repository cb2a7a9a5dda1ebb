"""Dirichlet counts grow with what was seen, and fade."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from random_models import SEEDS, Structure, build, random_beliefs, random_observations, structures

from cognitive_actors.core.learning import (
    expected_distribution,
    forget,
    own_counts,
    update_initial_counts,
    update_likelihood_counts,
    update_transition_counts,
    with_counts,
)
from cognitive_actors.core.model import GenerativeModel

ONES = [[1.0, 1.0], [1.0, 1.0]]


def model() -> GenerativeModel:
    """Two states, two outcomes, two actions; one count everywhere."""
    half = [[0.5, 0.5], [0.5, 0.5]]
    B, pB = [[[0.5] * 2] * 2] * 2, [[[1.0] * 2] * 2] * 2
    return GenerativeModel.from_arrays([half], [B], pA=[ONES], pB=[pB], pD=[[1.0, 3.0]], dtype=torch.float64)


NOW = (torch.tensor([[0.75, 0.25], [0.0, 1.0], [0.5, 0.5]], dtype=torch.float64),)
BEFORE = (torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]], dtype=torch.float64),)


def test_likelihood_counts_by_hand() -> None:
    (pA,) = update_likelihood_counts(model(), (torch.tensor([0, 1, -1]),), NOW, rate=2.0)
    assert pA.tolist() == [[[2.5, 1.5], [1.0, 1.0]], [[1.0, 1.0], [1.0, 3.0]], ONES]
    soft = torch.tensor([[0.5, 0.5]], dtype=torch.float32)
    (pA,) = update_likelihood_counts(model(), (soft,), (NOW[0][:1],))
    assert pA.tolist() == [[[1.375, 1.125], [1.375, 1.125]]]
    assert pA.dtype == torch.float64


def test_transition_counts_by_hand() -> None:
    (pB,) = update_transition_counts(model(), BEFORE, NOW, torch.tensor([[0], [1], [0]]), rate=4.0)
    assert pB[0, :, :, 0].tolist() == [[4.0, 1.0], [2.0, 1.0]]
    assert pB[0, :, :, 1].tolist() == ONES
    assert pB[1, :, :, 1].tolist() == [[1.0, 1.0], [3.0, 3.0]]
    torch.testing.assert_close(pB[2, :, :, 0], 1 + 4 * torch.tensor([[0.1, 0.4], [0.1, 0.4]], dtype=torch.float64))


def test_initial_counts_by_hand() -> None:
    (pD,) = update_initial_counts(model(), NOW, rate=4.0)
    assert pD.tolist() == [[4.0, 4.0], [1.0, 7.0], [3.0, 5.0]]


@given(structures(), SEEDS)
@settings(max_examples=25)
def test_one_observation_adds_one_count_spread_over_states(structure: Structure, seed: int) -> None:
    random = build(structure, seed, counts=True)
    assert random.pA is not None and random.pB is not None
    beliefs, observations = random_beliefs(random, 4, seed), random_observations(random, 4, seed)
    for before, after, o in zip(
        random.pA, update_likelihood_counts(random, observations, beliefs), observations, strict=True
    ):
        added = after - before
        torch.testing.assert_close(added.flatten(1).sum(dim=1), (o >= 0).double(), rtol=0, atol=1e-12)
        assert float(added.min()) >= 0
        for n, outcome in enumerate(o.tolist()):
            assert bool((added[n, [k for k in range(added.shape[1]) if k != outcome]] == 0).all())
    actions = torch.zeros(4, len(structure.states), dtype=torch.int64)
    for before, after in zip(random.pB, update_transition_counts(random, beliefs, beliefs, actions), strict=True):
        added = (after - before).flatten(1).sum(dim=1)
        torch.testing.assert_close(added, torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_forgetting_moves_counts_towards_where_they_began() -> None:
    initial, counts = torch.full((1, 2, 2), 1.0), torch.full((3, 2, 2), 5.0)
    faded = forget(counts, initial, torch.tensor([1.0, 0.75, 0.0], dtype=torch.float64))
    assert faded[:, 0, 0].tolist() == [5.0, 4.0, 1.0]
    assert faded.dtype == counts.dtype
    assert forget(counts, initial, 0.5)[2, 1, 1] == 3.0


def test_forgetting_bounds_what_is_remembered() -> None:
    """With retention 1 - 1/alpha and one count per trial the counts settle alpha above where they began."""
    alpha, initial = 8.0, torch.tensor([[0.5]])
    counts = initial
    for _ in range(400):
        counts = forget(counts, initial, 1 - 1 / alpha) + 1
    assert float(counts) == pytest.approx(0.5 + alpha, rel=1e-5)


def test_a_model_of_counts_is_their_mean() -> None:
    own = own_counts(model(), 3)
    assert own.A[0].shape == (3, 2, 2) and own.D[0].tolist() == [[0.25, 0.75]] * 3
    counts = (torch.tensor([[[3.0, 1.0], [1.0, 1.0]]]),)
    learned = with_counts(own, pA=counts)
    assert learned.A[0].tolist() == [[[0.75, 0.5], [0.25, 0.5]]]
    assert learned.B is own.B and learned.D is own.D and learned.pA is counts
    torch.testing.assert_close(expected_distribution(counts[0]).sum(dim=1), torch.ones(1, 2))


def test_agents_learn_for_themselves() -> None:
    own = own_counts(model(), 2)
    assert own.pA is not None
    own.pA[0][0] += 1
    assert own.pA[0][1].tolist() == ONES and model().pA[0][0].tolist() == ONES  # type: ignore[index]


def test_what_has_no_counts_cannot_be_learned() -> None:
    nothing = build(Structure((2,), (2,), (2,), ((0,),), 1), 0)
    actions = torch.zeros(3, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match="the model has no counts pA to learn; give it pA, or leave A as it is"):
        update_likelihood_counts(nothing, (actions[:, 0],), NOW)
    with pytest.raises(ValueError, match="the model has no counts pB to learn; give it pB, or leave B as it is"):
        update_transition_counts(nothing, BEFORE, NOW, actions)
    with pytest.raises(ValueError, match="the model has no counts pD to learn; give it pD, or leave D as it is"):
        update_initial_counts(nothing, NOW)
