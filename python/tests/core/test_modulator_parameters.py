"""The parameters of the neuromodulators: the named sets, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cognitive_actors.core.neuromodulators import (
    GUIDE,
    MODULATORS,
    OPPONENT_PROCESS,
    ModulatorError,
    Neuromodulators,
    ThresholdRule,
    impulse_vector,
    parameter_set,
)


@given(
    deltas=st.lists(
        st.dictionaries(
            st.sampled_from(MODULATORS), st.one_of(st.floats(-1, 1), st.sampled_from([0.1, 0.2, 0.3, -0.1]))
        ),
        max_size=12,
    )
)
@settings(max_examples=100)
def test_the_guide_set_is_its_rule_to_the_bit(deltas: list[dict[str, float]]) -> None:
    modulators = Neuromodulators(parameter_set("guide"))
    state, scalar = modulators.initial(1), dict.fromkeys(MODULATORS, 0.5)
    for delta in deltas:
        for name, value in delta.items():
            scalar[name] = min(max(scalar[name] + value, 0.0), 1.0)
        if scalar["dopamine"] > 0.8:
            scalar["norepinephrine"] = min(1.0, scalar["norepinephrine"] + 0.1)
        state = modulators.advance(modulators.impulse(state, impulse_vector(delta)), 1.0)
        assert modulators.levels(state)[0].tolist() == list(scalar.values())


def test_an_event_happens_to_those_named_only() -> None:
    modulators = Neuromodulators(GUIDE)
    state = modulators.impulse(modulators.initial(2), impulse_vector({"dopamine": 0.4}))
    state = modulators.impulse(state, torch.zeros(5), where=torch.tensor([True, False]))
    assert modulators.levels(state)[:, 4].tolist() == [0.5 + 0.1 + 0.1, 0.5 + 0.1]


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coupling": tuple((1.5,) * 5 for _ in range(5))}, "unstable.*row 0, dopamine, adds up to 7.5"),
        ({"coupling": ((math.nan,) * 5,) * 5}, "not finite"),
        ({"coupling": ((0.0,) * 5,) * 4}, "coupling has 4 rows"),
        ({"half_life": (2.0, 120.0, math.inf, 4590.0, 150.0)}, "infinite for oxytocin only"),
        ({"half_life": (0.0, 120.0, 192.0, 4590.0, 150.0)}, r"half_life\[0\] \(dopamine\)"),
        ({"baseline": (0.5, 0.5, 0.3, 1.3, 0.4)}, r"baseline\[3\] \(cortisol\)"),
        ({"gain_rate": (0.1, 0.1)}, "gain_rate has 2 entries"),
        ({"gain_max": (0.1,) * 5}, "at least its opponent_gain"),
        ({"opponent_ratio": (0.5,) * 5}, "slower"),
        ({"time_scale": 0.0}, "time_scale"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ModulatorError, match=message):
        replace(OPPONENT_PROCESS, **changes)  # type: ignore[arg-type]


def test_rules_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(ModulatorError, match=r"'adrenaline'.*dopamine, serotonin, oxytocin, cortisol, norepinephrine"):
        ThresholdRule("adrenaline", 0.8, "dopamine", 0.1)
    with pytest.raises(ModulatorError, match="never be armed again"):
        ThresholdRule("dopamine", 0.04, "cortisol", 0.1)


def test_input_that_cannot_be_used_is_refused() -> None:
    modulators = Neuromodulators()
    state = modulators.initial(2)
    with pytest.raises(ModulatorError, match=r"'adrenaline'.*dopamine, serotonin, oxytocin, cortisol, norepinephrine"):
        impulse_vector({"adrenaline": 0.1})
    with pytest.raises(ModulatorError, match="impulse on cortisol is nan"):
        impulse_vector({"cortisol": math.nan})
    with pytest.raises(ModulatorError, match="oxytocin of agent 1 is inf"):
        modulators.impulse(state, torch.tensor([[0.0] * 5, [0.0, 0.0, math.inf, 0.0, 0.0]]))
    with pytest.raises(ModulatorError, match=r"shape \(3,\)"):
        modulators.hold(state, torch.zeros(3))
    for seconds in (-0.1, math.nan, math.inf, torch.tensor([1.0, -1.0])):
        with pytest.raises(ModulatorError, match="0 or more"):
            modulators.advance(state, seconds)
    with pytest.raises(ModulatorError, match="write one of opponent-process, guide"):
        parameter_set("depot")
