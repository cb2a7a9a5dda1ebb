"""Each neuromodulator, pushed by an impulse, changes what agents do in the direction it is known for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cognitive_actors.core.appraisal import Drives
from cognitive_actors.core.cycle import CognitiveCycle, CycleSettings, Outcome, Population
from cognitive_actors.core.model import Factor, GenerativeModel, Modality
from cognitive_actors.core.neuromodulators import GUIDE, impulse_vector
from cognitive_actors.core.workspace import WorkspaceParameters

#: Lowered, left alone, raised.
PUSHES = (-0.3, 0.0, 0.3)


def pushed(
    model: GenerativeModel, observations: tuple[int, ...], modulator: str, size: float = 0.3, **chosen: Any
) -> tuple[Population, Outcome]:
    """One cycle of three agents of which the first has the modulator lowered, the second is left alone, the third has
    it raised."""
    cycle = CognitiveCycle(model, CycleSettings(drives=Drives.none(), **chosen))
    delta = torch.stack([impulse_vector({modulator: x / 0.3 * size}) for x in PUSHES])
    return cycle.step(cycle.initial(3), tuple(torch.full((3,), o) for o in observations), delta=delta)


def rising(x: Tensor) -> bool:
    return bool((x.diff() > 0).all())


def line(length: int) -> np.ndarray:
    """Walk along a line that ends at its last state: B of a factor whose second action moves, and the first returns to
    the first state."""
    B = np.zeros((length, length, 2))
    B[0, :, 0] = 1
    for s in range(length):
        B[min(s + 1, length - 1), s, 1] = 1
    return B


def choice() -> GenerativeModel:
    """A small reward at once (and then nothing), or a larger one after three moves."""
    start, small, one, two, large, over = range(6)
    take, wait = np.zeros((6, 6)), np.zeros((6, 6))
    for before, after in ((start, small), (small, over), (one, over), (two, over), (large, over), (over, over)):
        take[after, before] = 1
    for before, after in ((start, one), (small, over), (one, two), (two, large), (large, over), (over, over)):
        wait[after, before] = 1
    reward = np.zeros((3, 6))
    reward[0], reward[1, small], reward[2, large] = 1, 1, 1
    reward[0, [small, large]] = 0
    now = Factor("where", ("start", "small", "one", "two", "large", "over"), ("take", "wait"))
    return GenerativeModel.from_arrays(
        [reward],
        [np.stack([take, wait], axis=-1)],
        [[0.0, 1.0, 1.5]],
        [[1, 0, 0, 0, 0, 0]],
        factors=[now],
        modalities=[Modality("reward", ("nothing", "small", "large"), (0,))],
        horizon=3,
        dtype=torch.float64,
    )


def test_serotonin_makes_patient() -> None:
    """At baseline the delayed reward is worth 1.5 / 2 < 1; with the horizon doubled or more it is worth more than 1."""
    _, outcome = pushed(choice(), (0,), "serotonin", discount_half_life=2.0, selection="full")
    assert outcome.action[:, 0].tolist() == [0, 0, 1]


def test_cortisol_makes_short_sighted() -> None:
    """Without discount the large reward is chosen, unless planning does not reach it."""
    _, outcome = pushed(choice(), (0,), "cortisol", size=0.6, discount_half_life=float("inf"))
    assert outcome.action[:, 0].tolist() == [1, 1, 0]


def test_cortisol_gives_habits_more_weight() -> None:
    model = GenerativeModel.from_arrays(
        [np.eye(2)], [line(2)], [[0.0, 0.5]], [[1, 0]], E=[0.7, 0.3], horizon=1, dtype=torch.float64
    )
    habit = pushed(model, (0,), "cortisol", precision=2.0)[1]
    assert habit.action[:, 0].tolist() == [1, 1, 0]


def test_dopamine_makes_decided() -> None:
    _, outcome = pushed(choice(), (0,), "dopamine", discount_half_life=2.0)
    assert rising(outcome.precision) and float(outcome.precision[1]) == 4.0
    assert rising(-outcome.policy_entropy)


def looks(social: bool) -> GenerativeModel:
    """What others show and what one sees oneself, both unreliable, about one hidden state."""
    view = np.array([[0.7, 0.3], [0.3, 0.7]])
    return GenerativeModel.from_arrays(
        [view, view],
        [np.array([[[0.8], [0.2]], [[0.2], [0.8]]])],
        factors=[Factor("food", ("here", "there"))],
        modalities=[Modality("others", ("here", "there"), (0,), social), Modality("own", ("here", "there"), (0,))],
        dtype=torch.float64,
    )


def test_oxytocin_gives_more_weight_to_others() -> None:
    population, _ = pushed(looks(social=True), (0, 1), "oxytocin")
    here = population.beliefs[0][:, 0]
    assert rising(here) and float(here[1]) == pytest.approx(0.5)
    population, _ = pushed(looks(social=False), (0, 1), "oxytocin")
    assert population.beliefs[0][:, 0].tolist() == pytest.approx([0.5] * 3)


def test_norepinephrine_makes_the_future_look_more_certain() -> None:
    population, _ = pushed(looks(social=False), (0, 0), "norepinephrine")
    assert rising(population.prior[0].amax(dim=1))


def test_norepinephrine_forgets_what_was_learned() -> None:
    model = replace(looks(social=False), pA=(torch.full((1, 2, 2), 1.0, dtype=torch.float64),) * 2)
    cycle = CognitiveCycle(model, CycleSettings(drives=Drives.none(), learn_A=True))
    seen = (torch.zeros(3, dtype=torch.int64),) * 2
    population = cycle.initial(3)
    for _ in range(20):
        population, _ = cycle.step(population, seen)
    delta = torch.stack([impulse_vector({"norepinephrine": x}) for x in PUSHES])
    after, _ = cycle.step(population, seen, delta=delta)
    assert after.pA is not None and population.pA is not None
    remembered = after.pA[0].flatten(1).sum(dim=1)
    assert float(remembered[0]) == pytest.approx(float(remembered[1]))
    assert float(remembered[2]) < float(population.pA[0][2].sum()) < float(remembered[1])


def test_better_prospects_than_predicted_raise_dopamine_and_worse_ones_lower_it() -> None:
    """A sign tells on which side the reward is; or that what one had believed was wrong."""
    go = np.repeat(np.eye(2)[:, None, :], 2, axis=1)
    sign = np.array([[0.99, 0.01, 0.5], [0.01, 0.99, 0.5]])
    pays = np.stack([1 - np.eye(2, 3), np.eye(2, 3)])
    model = GenerativeModel.from_arrays(
        [sign, pays],
        [go, np.eye(3)[..., None]],
        [[0.0, 0.0], [0.0, 3.0]],
        dependencies=[[1], [0, 1]],
        D=[[0.5, 0.5], [0.98, 0.01, 0.01]],
        dtype=torch.float64,
    )
    cycle = CognitiveCycle(model, CycleSettings(drives=replace(Drives.none(), dopamine=0.3)))
    start = cycle.initial(2)
    doubtful = torch.tensor([[0.25, 0.25, 0.5]], dtype=torch.float64)
    start = replace(start, prior=(start.prior[0], torch.cat([start.prior[1][:1], doubtful])))
    _, outcome = cycle.step(start, (torch.tensor([1, 1]), torch.tensor([-1, -1])))
    worse, better = outcome.levels[:, 0].tolist()
    assert worse < 0.5 < better


def test_prospects_are_seen_with_what_was_learned() -> None:
    """The model knows nothing of what pays; agents that learned it feel a sign of it."""
    sign, unknown = np.eye(2), np.full((2, 2, 2), 0.5)
    go = np.repeat(np.eye(2)[:, None, :], 2, axis=1)
    model = GenerativeModel.from_arrays(
        [sign, unknown],
        [go, np.eye(2)[..., None]],
        [[0.0, 0.0], [0.0, 2.0]],
        dependencies=[[1], [0, 1]],
        pA=[sign * 99 + 0.01, unknown],
        dtype=torch.float64,
    )
    cycle = CognitiveCycle(model, CycleSettings(learn_A=True, drives=replace(Drives.none(), dopamine=0.3)))
    start = cycle.initial(2)
    assert start.pA is not None
    # The second agent has learned that the payment is where the sign points.
    start.pA[1][1] += 50 * torch.stack([1 - torch.eye(2), torch.eye(2)])
    _, outcome = cycle.step(start, (torch.tensor([0, 0]), torch.tensor([-1, -1])))
    unmoved, raised = outcome.levels[:, 0].tolist()
    assert unmoved == pytest.approx(0.5, abs=0.01) and raised > 0.6


def chosen_arm(**chosen: Any) -> tuple[CognitiveCycle, Population]:
    """Two agents that have just chosen the arm that pays nine times in ten over the one that pays once."""
    arms = np.repeat(np.eye(2)[:, None, :], 2, axis=1)
    model = GenerativeModel.from_arrays([[[0.9, 0.1], [0.1, 0.9]]], [arms], [[0.0, 2.0]], dtype=torch.float64)
    cycle = CognitiveCycle(model, CycleSettings(drives=replace(Drives.none(), dopamine=0.3), **chosen))
    population, outcome = cycle.step(cycle.initial(2), (torch.tensor([-1, -1]),))
    assert outcome.action[:, 0].tolist() == [1, 1]
    return cycle, population


#: Without payment, and with it.
PAYMENTS = (torch.tensor([0, 1]),)


def test_an_outcome_that_the_best_policy_promised_raises_dopamine() -> None:
    cycle, population = chosen_arm(precision=1.0)
    assert torch.equal(cycle.modulators.levels(population.modulators), cycle.baseline.expand(2, -1))
    _, outcome = cycle.step(population, PAYMENTS)
    missed, met = outcome.levels[:, 0].tolist()
    assert missed < 0.5 - 1e-3 and met > 0.5 + 1e-3


def test_a_new_trial_has_no_promise_to_compare_with() -> None:
    cycle, population = chosen_arm()
    _, outcome = cycle.step(cycle.begin_trial(population), PAYMENTS)
    assert outcome.levels[:, 0].tolist() == pytest.approx([0.5, 0.5], abs=1e-12)


def test_what_is_not_broadcast_keeps_no_promise() -> None:
    cycle, population = chosen_arm(gate=True, workspace=WorkspaceParameters(theta0=100.0))
    _, outcome = cycle.step(population, PAYMENTS)
    assert outcome.levels[:, 0].tolist() == pytest.approx([0.5, 0.5], abs=1e-12)


def test_surprise_is_felt_at_once_and_news_as_long_as_it_lasts() -> None:
    """Dopamine and norepinephrine get impulses, serotonin, oxytocin and cortisol a held input."""
    sign = Modality("payment", ("bad", "good"), (0,), social=True)
    still = np.eye(2)[..., None]
    model = GenerativeModel.from_arrays(
        [[[0.9, 0.1], [0.1, 0.9]]], [still], [[0.0, 2.0]], modalities=[sign], dtype=torch.float64
    )
    cycle = CognitiveCycle(model)
    good = (torch.tensor([1]),)
    population, first = cycle.step(cycle.initial(1), good)
    baseline = cycle.baseline
    assert float(first.levels[0, 0]) > float(baseline[0])
    assert torch.equal(first.levels[0, 1:4], baseline[1:4])
    assert float(population.modulators.input[0, 1]) > 0 and float(population.modulators.input[0, 2]) > 0
    assert population.modulators.input[0, [0, 4]].tolist() == [0.0, 0.0]
    population, second = cycle.step(population, good)
    assert bool((second.levels[0, 1:3] > baseline[1:3]).all())
    population, _ = cycle.step(population, (torch.tensor([-1]),))
    assert population.modulators.input.tolist() == [[0.0] * 5]


def test_a_rule_for_events_fires_for_the_agents_the_event_reaches() -> None:
    """The guide's rule: dopamine above 0.8 adds 0.1 to norepinephrine whenever something happens to the agent."""
    model = GenerativeModel.from_arrays([np.eye(2)], [line(2)])
    cycle = CognitiveCycle(model, CycleSettings(drives=Drives.none(), modulators=GUIDE))
    population, seen = cycle.initial(2), (torch.tensor([0, 0]),)
    first, other = impulse_vector({"dopamine": 0.4}), impulse_vector({"cortisol": 0.1})
    nothing = torch.zeros_like(first)
    for delta in (torch.stack([first, nothing]), torch.stack([nothing, other])):
        population, outcome = cycle.step(population, seen, delta=delta)
        assert outcome.levels[:, 4].tolist() == pytest.approx([0.6, 0.5])
    _, outcome = cycle.step(population, seen, delta=torch.stack([other, nothing]))
    assert outcome.levels[:, 4].tolist() == pytest.approx([0.7, 0.5])


def test_the_policy_reported_is_the_one_that_ties_give() -> None:
    """What is better by no more than rounding could make it is not better."""
    tied = GenerativeModel.from_arrays([np.eye(2)], [line(2)], [[0.0, 1e-7]], [[1, 0]], dtype=torch.float64)
    cycle = CognitiveCycle(tied)
    _, outcome = cycle.step(cycle.initial(1), (torch.tensor([0]),))
    assert outcome.policy.tolist() == [0] and outcome.action.tolist() == [[0]]
