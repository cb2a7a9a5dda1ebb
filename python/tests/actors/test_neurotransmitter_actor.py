"""NeurotransmitterActor: the guide's methods, in an actor of its own process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ray

from cognitive_actors.actors.neurotransmitter import NeurotransmitterActor
from cognitive_actors.core.modulator_parameters import MODULATORS, OPPONENT_PROCESS

pytestmark = pytest.mark.usefixtures("embedded_ray")


@pytest.fixture(scope="module")
def thousands() -> Any:
    return NeurotransmitterActor.remote(5000)  # type: ignore[attr-defined]


def guide(agents: int = 1) -> Any:
    return NeurotransmitterActor.remote(agents, "guide")  # type: ignore[attr-defined]


def test_the_guides_own_rule() -> None:
    actor = guide(agents=3)
    assert ray.get(actor.get_state.remote()) == dict.fromkeys(MODULATORS, 0.5)
    state = ray.get(actor.apply_delta.remote({"dopamine": 0.2, "cortisol": -0.1}))
    assert state == {**dict.fromkeys(MODULATORS, 0.5), "dopamine": 0.7, "cortisol": 0.4}
    # Above 0.8, every call raises norepinephrine by a tenth; all is clipped to [0, 1].
    for expected in (0.6, 0.7, 0.8, 0.9, 1.0, 1.0):
        state = ray.get(actor.apply_delta.remote({"dopamine": 0.4}))
        assert state["norepinephrine"] == pytest.approx(expected, abs=1e-12)
    assert state["dopamine"] == 1.0
    # What happens to one agent is no event to another.
    ray.get(actor.apply_delta.remote({"dopamine": 0.4}, agent=1))
    ray.get(actor.apply_delta.remote({"cortisol": 0.1}, agent=2))
    assert ray.get(actor.get_state.remote(1))["norepinephrine"] == pytest.approx(0.6, abs=1e-12)


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        ({"dopamine": 0.1, "dopamin": 0.1}, "'dopamin' is no modulator; write one of dopamine"),
        ({"dopamine": float("nan")}, "impulse on dopamine is nan; write a finite number"),
        ({"cortisol": "much"}, "impulse on cortisol is 'much'"),
    ],
)
def test_a_bad_delta_changes_nothing(thousands: Any, delta: dict[str, Any], message: str) -> None:
    before = ray.get(thousands.get_levels.remote())
    with pytest.raises(ValueError, match=message):
        ray.get(thousands.apply_delta.remote(delta, agent=7, seconds=3.0))
    assert np.array_equal(ray.get(thousands.get_levels.remote()), before)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_time_does_not_run_backwards(thousands: Any, seconds: float) -> None:
    with pytest.raises(ValueError, match="write a finite time step of 0 or more"):
        ray.get(thousands.apply_delta.remote({}, seconds=seconds))
    with pytest.raises(ValueError, match="write a finite time step of 0 or more"):
        ray.get(thousands.advance.remote(seconds))


def test_agents_are_numbered(thousands: Any) -> None:
    for agent in (-1, 5000):
        with pytest.raises(ValueError, match=f"no agent {agent}; write a number between 0 and 4999"):
            ray.get(thousands.get_state.remote(agent))


def test_an_impulse_decays_back_to_rest(thousands: Any) -> None:
    rest = ray.get(thousands.get_state.remote(11))
    assert list(rest.values()) == pytest.approx(OPPONENT_PROCESS.baseline)
    raised = ray.get(thousands.apply_delta.remote({"dopamine": 0.2}, agent=11))
    assert raised["dopamine"] == pytest.approx(0.7)
    later = ray.get(thousands.apply_delta.remote({}, agent=11, seconds=2.0))
    assert rest["dopamine"] - 0.1 < later["dopamine"] < 0.61
    # The time of agent 11 is not that of agent 12.
    assert ray.get(thousands.get_state.remote(12)) == rest


def test_all_agents_at_once_as_one_by_one() -> None:
    deltas = np.random.default_rng(1).normal(scale=0.1, size=(4, 5))
    together, apart = guide(4), guide(4)
    levels = ray.get(together.apply_deltas.remote(deltas))
    for agent, row in enumerate(deltas):
        state = ray.get(apart.apply_delta.remote(dict(zip(MODULATORS, row.tolist(), strict=True)), agent))
        assert levels[agent].tolist() == pytest.approx(list(state.values()), abs=1e-12)
