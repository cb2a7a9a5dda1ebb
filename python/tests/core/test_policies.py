"""Policies are enumerated in the order of itertools.product."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from random_models import Structure, build, structures

from cognitive_actors.core.model import Factor, GenerativeModel, Modality
from cognitive_actors.core.policies import describe_policy, first_actions, policy_actions


@given(structures())
@settings(max_examples=40)
def test_order_is_that_of_itertools_product(structure: Structure) -> None:
    model = build(structure, 0)
    step = list(itertools.product(*map(range, structure.actions)))
    policies = [[list(actions) for actions in policy] for policy in itertools.product(step, repeat=structure.horizon)]
    assert policy_actions(model).tolist() == policies
    assert first_actions(model).tolist() == [list(actions) for actions in step]


@given(structures())
@settings(max_examples=20)
def test_words_name_the_actions_in_that_order(structure: Structure) -> None:
    model = build(structure, 0)
    for number, policy in enumerate(policy_actions(model).tolist()):
        steps = [
            " + ".join(f"action_{u}" for u, n in zip(actions, structure.actions, strict=True) if n > 1) or "none"
            for actions in policy
        ]
        assert describe_policy(model, number) == " > ".join(steps)


def test_words() -> None:
    walk = Factor("place", ("home", "shop"), ("stay", "go"))
    look = Factor("gaze", ("up", "down"), ("lift", "keep", "lower"))
    weather = Factor("weather", ("dry",))
    step = [[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]]
    model = GenerativeModel.from_arrays(
        [[[0.5, 0.5], [0.5, 0.5]]],
        [step, [[[1.0] * 3, [0.0] * 3], [[0.0] * 3, [1.0] * 3]], [[[1.0]]]],
        factors=[walk, look, weather],
        modalities=[Modality("view", ("a", "b"), (0,))],
        horizon=2,
    )
    assert describe_policy(model, 0) == "stay + lift > stay + lift"
    assert describe_policy(model, 35) == "go + lower > go + lower"
    assert describe_policy(model, 1 * 6 + 3) == "stay + keep > go + lift"
    for number in (-1, 36):
        with pytest.raises(ValueError, match=f"policy is {number}; write a number from 0 to 35"):
            describe_policy(model, number)
