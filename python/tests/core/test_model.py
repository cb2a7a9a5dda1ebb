"""A generative model checks its arrays and says what is wrong with them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from random_models import SEEDS, Structure, build, structures

from cognitive_actors.core.model import Factor, GenerativeModel, Modality, ModelError

A = [[0.9, 0.2], [0.1, 0.8]]
B = [[[1.0, 0.0], [0.5, 1.0]], [[0.0, 1.0], [0.5, 0.0]]]
WEATHER = Factor("weather", ("dry", "wet"), ("wait", "dance"))
VIEW = Modality("view", ("sun", "rain"), (0,))


def replaced(array: Any, value: float, *index: int) -> np.ndarray:
    x = np.array(array, dtype=float)
    x[index] = value
    return x


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"A": []}, "A and B must each hold at least one array: write one A per modality"),
    ({"horizon": 0}, "horizon is 0; write a whole number of steps, 1 or more"),
    ({"horizon": 1.5}, "horizon is 1.5; write a whole number"),
    ({"dtype": torch.float16}, "dtype is torch.float16; write torch.float32 or torch.float64"),
    ({"A": ["words"]}, "A[0] is not a rectangular array of numbers"),
    ({"A": [[[1, 0], [0]]]}, "A[0] is not a rectangular array of numbers"),
    ({"A": [replaced(A, np.nan, 1, 0)]}, "A[0][1, 0] is nan; write a finite number"),
    ({"C": [[0.0, np.inf]]}, "C[0][1] is inf; write a finite number"),
    ({"A": [1.0]}, "A[0] is a single number; write outcomes, then the states"),
    ({"B": [A]}, "B[0] has 2 axes; write 3 (next state, previous state, action)"),
    ({"dependencies": []}, "dependencies has length 0; write 1, one list for each modality"),
    ({"dependencies": [[0]], "modalities": [VIEW]}, "dependencies are given twice; leave them out"),
    ({"dependencies": [[1]]}, "modality 0 ('modality_0') depends on factors [1]; write a list of distinct numbers"),
    ({"dependencies": [[0, 0]]}, "depends on factors [0, 0]; write a list of distinct numbers between 0 and 0"),
    ({"dependencies": [[]]}, "depends on factors []; write a list of distinct numbers"),
    ({"factors": [WEATHER, WEATHER]}, "B has length 1; write 2, one array for each factor"),
    ({"modalities": [VIEW, VIEW]}, "A has length 1; write 2, one array for each modality"),
    ({"C": [[0, 1]] * 2}, "C has length 2; write 1, one array for each modality"),
    ({"C": []}, "C has length 0; write 1, one array for each modality"),
    ({"D": []}, "D has length 0; write 1, one array for each factor"),
    ({"pA": [A, A]}, "pA has length 2; write 1, one array for each modality"),
    ({"pB": []}, "pB has length 0; write 1, one array for each factor"),
    ({"A": [A, A], "modalities": [VIEW, VIEW]}, "two of the modality names are 'view'; give each modality a name"),
    ({"B": [B, B], "factors": [WEATHER] * 2}, "two of the factor names are 'weather'; give each factor a name"),
    ({"B": [np.ones((0, 0, 1))]}, "factor 0 ('factor_0') has no states or no actions; write at least one of each"),
    ({"A": [np.ones((0, 2))]}, "modality 0 ('modality_0') has no outcomes; write at least one"),
    ({"B": [B], "factors": [Factor("f", ("a", "b", "c"))]}, "B[0] ('f') has shape (2, 2, 2); write (3, 3, 1)"),
    ({"B": [replaced(B, -0.5, 1, 0, 1)]}, "B[0] ('factor_0')[1, 0, 1] is -0.5; write a probability between 0 and 1"),
    ({"B": [replaced(B, 0.7, 0, 1, 0)]}, "B[0] ('factor_0')[:, 1, 0] sums to 1.2, not 1; write 2 probabilities"),
    ({"A": [np.ones((2, 3)) / 2]}, "A[0] ('modality_0') has shape (2, 3); write (2, 2) (outcomes, then states of"),
    ({"A": [replaced(A, 0.5, 0, 1)]}, "A[0] ('modality_0')[:, 1] sums to 1.3, not 1"),
    ({"C": [[0, 1, 2]]}, "C[0] ('modality_0') has shape (3,); write 2 log-preferences, one per outcome"),
    ({"C": [[[0, 1]] * 2], "horizon": 3}, "has shape (2, 2); write 2 log-preferences, one per outcome, or 3 rows"),
    ({"D": [[1, 0, 0]]}, "D[0] ('factor_0') has shape (3,); write (2,) (one probability per state)"),
    ({"D": [[0.5, 0.6]]}, "D[0] ('factor_0')[:] sums to 1.1, not 1"),
    ({"E": [1.0]}, "E has shape (1,); write (2,) (one probability per policy)"),
    ({"E": [1.5, -0.5]}, "E[1] is -0.5; write a probability between 0 and 1"),
    ({"pA": [np.ones((2, 3))]}, "pA[0] has shape (2, 3); write (2, 2) (the shape of A[0])"),
    ({"pA": [replaced(A, 0, 1, 1)]}, "pA[0][1, 1] is 0; write a count greater than zero"),
    ({"pD": [[1, -2]]}, "pD[0][1] is -2; write a count greater than zero"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_errors_name_the_array_the_index_and_the_remedy(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"A": [A], "B": [B]} | changes
    with pytest.raises(ModelError, match=re.escape(message)):
        GenerativeModel.from_arrays(**arguments)


def own(array: Any, agents: int) -> np.ndarray:
    return np.stack([np.array(array, dtype=float)] * agents)


OWN_WRONG: list[tuple[dict[str, Any], str]] = [
    ({"A": [replaced(own(A, 3), 0.5, 2, 0, 1)]}, "A[0] ('modality_0')[:, 1] of agent 2 sums to 1.3, not 1"),
    ({"A": [replaced(own(A, 3), -1, 1, 0, 1)]}, "A[0] ('modality_0')[0, 1] of agent 1 is -1; write a probability"),
    ({"A": [replaced(own(A, 3), np.inf, 1, 0, 1)]}, "A[0][0, 1] of agent 1 is inf; write a finite number"),
    ({"pA": [replaced(own(A, 3), 0, 2, 1, 1)]}, "pA[0][1, 1] of agent 2 is 0; write a count"),
    (
        {"B": [own(B, 2)]},
        "B[0] is for 2 agents and A[0] for 3; write batch axes of length 1 or of one number of agents",
    ),
    ({"D": [np.ones((0, 2))]}, "D[0] has a batch axis of length 0; write 1 for all agents together, or one per agent"),
]


@pytest.mark.parametrize(("changes", "message"), OWN_WRONG)
def test_errors_name_the_agent_where_each_has_arrays_of_its_own(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"A": [own(A, 3)], "B": [own(B, 1)], "batched": True} | changes
    with pytest.raises(ModelError, match=re.escape(message)):
        GenerativeModel.from_arrays(**arguments)


def test_what_is_missing_is_uniform_and_named_by_number() -> None:
    model = GenerativeModel.from_arrays([A, A], [B], horizon=2)
    assert [m.factors for m in model.modalities] == [(0,), (0,)]
    assert model.factors[0].states == ("state_0", "state_1")
    torch.testing.assert_close(model.C[0], torch.full((1, 1, 2), 0.5).log())
    torch.testing.assert_close(model.D[0], torch.full((1, 2), 0.5))
    torch.testing.assert_close(model.E, torch.full((1, 4), 0.25))
    assert (model.num_states, model.num_actions, model.num_outcomes, model.num_policies) == ((2,), (2,), (2, 2), 4)
    assert model.pA is None and model.shared and model.dtype == torch.float32


def test_preferences_are_normalised_and_may_differ_by_step() -> None:
    model = GenerativeModel.from_arrays([A, A], [B], [[1e4, 0.0], [[0.0, 3.0], [0.0, -3.0]]], horizon=2)
    assert [tuple(C.shape) for C in model.C] == [(1, 1, 2), (1, 2, 2)]
    for C in model.C:
        torch.testing.assert_close(C.exp().sum(dim=-1), torch.ones(C.shape[:2]))


def test_tensors_of_any_type_are_taken() -> None:
    given = GenerativeModel.from_arrays([torch.eye(2, dtype=torch.bfloat16)], list(torch.tensor([B])))
    assert torch.equal(given.A[0][0], torch.eye(2))


@given(structures(), SEEDS)
@settings(max_examples=25)
def test_another_precision_and_back_keeps_structure_and_numbers(structure: Structure, seed: int) -> None:
    model = build(structure, seed, counts=True)
    back = model.to(dtype=torch.float32).to(dtype=torch.float64, device="cpu")
    assert (back.factors, back.modalities, back.horizon) == (model.factors, model.modalities, model.horizon)
    assert back.num_policies == structure.policies == model.E.shape[1]
    for name, x in model.tensors().items():
        torch.testing.assert_close(back.tensors()[name], x, rtol=1e-6, atol=1e-6)


def test_a_model_is_shared_until_one_array_is_not() -> None:
    structure = Structure((2,), (2,), (2,), ((0,),), 1)
    assert build(structure, 0).shared
    assert not build(structure, 0, agents=2).shared
