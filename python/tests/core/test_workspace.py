"""The global workspace: salience, all-or-none ignition, capacity, refractory period, inhibition of return."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cognitive_actors.core import batched
from cognitive_actors.core.neuromodulators import MODULATORS, OPPONENT_PROCESS
from cognitive_actors.core.workspace import (
    Competition,
    GlobalWorkspace,
    Signals,
    WorkspaceParameters,
    WorkspaceState,
)

tensor = partial(torch.tensor, dtype=torch.float64)
BASELINE = tensor(OPPONENT_PROCESS.baseline)
REST = BASELINE[None]
quick = settings(max_examples=40)


def levels(**given: float) -> Tensor:
    """(1, 5) levels at baseline except for those given."""
    return tensor([[given.get(name, float(b)) for name, b in zip(MODULATORS, BASELINE, strict=True)]])


def signals(
    surprise: object,
    relevance: object = 0.0,
    valence: object = 0.0,
    *,
    threat: object = False,
    social: object = False,
    age: object = 0.0,
    present: object = True,
) -> Signals:
    """Signals of one agent's candidates; a single value stands for all of them."""
    numbers = [tensor(x) for x in (surprise, relevance, valence, age)]
    shape = sum(numbers, torch.zeros(1, 1)).shape
    s, r, v, a = (x.expand(shape) for x in numbers)
    t, o, p = (torch.tensor(x).expand(shape) for x in (threat, social, present))
    return Signals(s, r, v, t, o, a, p)


def salience(given: Signals, at: Tensor = REST, workspace: GlobalWorkspace | None = None) -> list[float]:
    """Salience of an unhabituated agent's candidates."""
    workspace = workspace or GlobalWorkspace()
    k = given.surprise.shape[1]
    return workspace.salience(workspace.initial(1, k), given, at, BASELINE)[0].tolist()


def run(
    workspace: GlobalWorkspace, inputs: Tensor, moments: int, step: float, state: WorkspaceState | None = None
) -> list[Competition]:
    """Compete ``moments`` times, ``step`` seconds apart, for inputs (K,) of constant strength."""
    state = workspace.initial(1, inputs.shape[-1]) if state is None else state
    competitions = []
    for _ in range(moments):
        competition = workspace.compete(state, inputs * (1 - state.habituation), REST, BASELINE)
        competitions.append(competition)
        state = workspace.advance(competition.state, step)
    return competitions


def sequence(competitions: list[Competition]) -> str:
    """Which content ignited, moment after moment, as letters."""
    return "".join("abcdefgh"[int(i)] for c in competitions for i in c.ignited[0].nonzero())


def set_up(*strengths: float, delta: float = 0.1, capacity: int = 1) -> tuple[GlobalWorkspace, WorkspaceState]:
    """A workspace without habituation or refractory period that holds contents of these strengths (0: not held)."""
    workspace = GlobalWorkspace(WorkspaceParameters(capacity=capacity, delta=delta, eta=0.0, t_ref=0.0))
    held = tensor([strengths])
    return workspace, replace(workspace.initial(1, len(strengths)), active=held > 0, strength=held)


# Salience


def test_salience_at_baseline_is_the_weighted_sum() -> None:
    given = signals([0.0, math.log(2), math.inf], [1.0, 0.5, 0.0], [0.0, -0.5, 1.0], threat=True, social=True)
    assert salience(given) == pytest.approx([0.4, 0.2 + 0.2 + 0.1, 0.4 + 0.2], abs=1e-15)


def test_salience_halves_with_age_and_fades_with_habituation() -> None:
    assert salience(signals(math.inf, 1.0, 1.0, age=[0.0, 2.0, 4.0])) == pytest.approx([1.0, 0.5, 0.25], abs=1e-15)
    workspace = GlobalWorkspace()
    state = replace(workspace.initial(1, 2), habituation=tensor([[0.0, 0.75]]))
    assert workspace.salience(state, signals([math.inf] * 2), REST, BASELINE)[0].tolist() == pytest.approx([0.4, 0.1])


@given(
    st.lists(st.tuples(st.floats(0, 9), st.floats(0, 1), st.floats(-1, 1)), min_size=1, max_size=5),
    st.lists(st.floats(0, 1), min_size=5, max_size=5),
)
@quick
def test_salience_never_falls_when_surprise_relevance_or_affect_grows(
    values: list[tuple[float, float, float]], modulators: list[float]
) -> None:
    surprise, relevance, valence = (list(x) for x in zip(*values, strict=True))
    at = tensor([modulators])
    before = tensor(salience(signals(surprise, relevance, valence, threat=True), at))
    for more in (
        signals([x + 0.1 for x in surprise], relevance, valence, threat=True),
        signals(surprise, [x + 0.1 for x in relevance], valence, threat=True),
        signals(surprise, relevance, [x * 1.1 for x in valence], threat=True),
    ):
        assert (tensor(salience(more, at)) >= before).all()
    assert (before >= 0).all()


def test_cortisol_lets_the_threat_win_and_dopamine_widens_the_lead_of_the_goal() -> None:
    goal_and_threat = signals([0.6, 0.6], [0.75, 0.2], [0.0, -0.9], threat=[False, True])
    assert salience(goal_and_threat) == pytest.approx([0.48, 0.44], abs=5e-3)
    assert salience(goal_and_threat, levels(cortisol=0.9)) == pytest.approx([0.48, 0.602], abs=5e-3)
    assert salience(goal_and_threat, levels(dopamine=0.9)) == pytest.approx([0.60, 0.47], abs=5e-3)


def test_oxytocin_raises_social_contents_only() -> None:
    given = signals([0.5, 0.5], 0.5, 0.8, social=[True, False])
    (social, other), (more, same) = salience(given), salience(given, levels(oxytocin=0.8))
    assert social == other == same
    assert more == pytest.approx(social + 0.2 * 1.5 * 0.5 * 0.8)


def test_an_empty_slot_has_no_salience_whatever_it_holds() -> None:
    assert salience(signals([math.nan, 1.0], 1.0, present=[False, False])) == [0.0, 0.0]


# Ignition


def ignition_probability(surprise: float, at: Tensor) -> float:
    """P(ignition) under normal noise of .05 in a relevance of .3, by the quantiles of the noise."""
    quantiles = torch.special.ndtri((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000)
    workspace, n = GlobalWorkspace(), len(quantiles)
    given = signals([[surprise]] * n, (0.3 + 0.05 * quantiles)[:, None].tolist())
    state, at = workspace.initial(n, 1), at.expand(n, 5)
    ignited = workspace.compete(state, workspace.salience(state, given, at, BASELINE), at, BASELINE).ignited
    return float(ignited.double().mean())


def test_ignition_is_all_or_none_in_surprise() -> None:
    for nats in (0.5, 0.7, 0.9, 1.2):
        lead = 0.4 * (1 - math.exp(-nats)) + 0.4 * 0.3 - 0.35
        expected = 0.5 * (1 + math.erf(lead / (0.4 * 0.05) / math.sqrt(2)))
        assert ignition_probability(nats, REST) == pytest.approx(expected, abs=1e-3)
    # From 10 % to 90 % within 0.35 nat, and nothing or everything on either side.
    assert ignition_probability(0.7, REST) < 0.1 < 0.9 < ignition_probability(1.05, REST)
    assert (ignition_probability(0.3, REST), ignition_probability(2.0, REST)) == (0.0, 1.0)


def test_norepinephrine_lets_weaker_surprise_ignite() -> None:
    """At rest neither would; frequencies of a simulation: 0.726 and 1."""
    assert [ignition_probability(nats, REST) for nats in (0.3, 0.5)] == pytest.approx([0.0, 0.0], abs=1e-3)
    alarmed = [ignition_probability(nats, levels(norepinephrine=0.9)) for nats in (0.3, 0.5)]
    assert alarmed == pytest.approx([0.726, 1.0], abs=0.03)


def test_the_threshold_falls_with_norepinephrine() -> None:
    workspace = GlobalWorkspace()
    at = torch.cat([levels(norepinephrine=x) for x in (0.4, 0.9, 0.0)])
    assert workspace.threshold(at, BASELINE).tolist() == pytest.approx([0.35, 0.2625, 0.42])


def test_contents_are_held_down_to_the_lower_threshold_only() -> None:
    workspace, state = set_up(0.0)
    rising_and_falling = [0.2, 0.3, 0.34, 0.36, 0.3, 0.26, 0.24, 0.3, 0.34]
    held = []
    for strength in rising_and_falling:
        state = workspace.compete(state, tensor([[strength]]), REST, BASELINE).state
        held.append(bool(state.active))
    assert held == [False, False, False, True, True, True, False, False, False]


def test_a_full_workspace_yields_only_to_a_clear_lead() -> None:
    workspace, state = set_up(0.5, 0.0, 0.6, 0.0, capacity=2)
    strengths = tensor([[0.5, 0.55, 0.6, 0.59]])
    assert workspace.compete(state, strengths, REST, BASELINE).active.tolist() == [[True, False, True, False]]
    strengths = tensor([[0.5, 0.65, 0.6, 0.9]])
    found = workspace.compete(state, strengths, REST, BASELINE)
    assert found.active.tolist() == [[False, False, True, True]], ".65 does not lead .6 by more than .1"
    assert found.ignited.tolist() == [[False, False, False, True]]
    assert found.state.strength.tolist() == [[0.0, 0.0, 0.6, 0.9]]


def test_several_free_places_are_filled_at_one_moment_strongest_first() -> None:
    workspace = GlobalWorkspace(WorkspaceParameters(capacity=2))
    strengths = tensor([[0.4, 0.6, 0.3, 0.5, 0.6]])
    state = workspace.initial(1, 5)
    first = workspace.compete(state, strengths, REST, BASELINE)
    assert first.ignited.tolist() == [[False, True, False, False, True]]
    tied = workspace.compete(state, tensor([[0.5] * 5]), REST, BASELINE, priority=torch.tensor([4, 3, 0, 2, 1]))
    assert tied.ignited.tolist() == [[False, False, True, False, True]]


@pytest.mark.parametrize(("lag", "seen"), [(0.05, False), (0.15, False), (0.2, True), (0.3, True)])
def test_a_second_target_within_the_refractory_period_is_missed(lag: float, seen: bool) -> None:
    workspace = GlobalWorkspace()
    first = workspace.compete(workspace.initial(1, 2), tensor([[0.8, 0.0]]), REST, BASELINE)
    assert first.ignited.tolist() == [[True, False]]
    state = workspace.advance(first.state, lag)
    second = workspace.compete(state, tensor([[0.0, 0.8]]), REST, BASELINE)
    assert second.ignited.tolist() == [[False, seen]]


# Taking turns


@pytest.mark.parametrize("strength", [0.4, 0.7, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("step", [0.05, 0.2])
def test_three_equal_contents_take_turns(strength: float, step: float) -> None:
    found = sequence(run(GlobalWorkspace(WorkspaceParameters(capacity=1)), tensor([strength] * 3), 240, step))
    assert len(found) > 9
    assert found == ("abc" * len(found))[: len(found)]


@given(
    n=st.integers(2, 8),
    capacity=st.integers(1, 4),
    strength=st.floats(0.36, 1.2),
    step=st.sampled_from([0.05, 0.1, 0.2]),
)
@settings(max_examples=15)
def test_no_equal_content_above_threshold_waits_longer_than_one_round(
    n: int, capacity: int, strength: float, step: float
) -> None:
    workspace = GlobalWorkspace(WorkspaceParameters(capacity=capacity))
    waiting = [0.0] * n
    for competition in run(workspace, tensor([strength] * n), 60, step):
        state = competition.state
        for i in range(n):
            ready = strength * (1 - float(state.habituation[0, i])) >= 0.35 and not state.active[0, i]
            waiting[i] = waiting[i] + step if ready else 0.0
        assert max(waiting) <= n * 0.2 + step + 1e-9


@given(seconds=st.lists(st.floats(0, 5), min_size=1, max_size=5))
@quick
def test_habituation_is_exact_in_time(seconds: list[float]) -> None:
    workspace = GlobalWorkspace()
    start = replace(workspace.initial(1, 2), habituation=tensor([[0.7, 0.2]]), active=torch.tensor([[False, True]]))
    parts = start
    for part in seconds:
        parts = workspace.advance(parts, part)
    whole = workspace.advance(start, sum(seconds))
    torch.testing.assert_close(parts.habituation, whole.habituation, rtol=0, atol=1e-14)
    assert float(whole.habituation[0, 0]) == pytest.approx(0.7 * 2 ** (-sum(seconds) / 1.5), abs=1e-14)
    assert float(whole.habituation[0, 1]) == 0.2, "a content that is held does not recover"


# Invariants


@st.composite
def courses(draw: st.DrawFn) -> tuple[int, Tensor, list[float], Tensor]:
    """Capacity; saliences (moments, N, K) on a coarse scale, so that ties occur; steps; levels (N, 5)."""
    n, k, moments = draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 6))
    count = moments * n * k
    values = draw(st.lists(st.integers(0, 10).map(lambda x: x / 10), min_size=count, max_size=count))
    steps = draw(st.lists(st.sampled_from([0.05, 0.2, 1.0]), min_size=moments, max_size=moments))
    at = draw(st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=n, max_size=n))
    return draw(st.integers(1, 4)), tensor(values).view(moments, n, k), steps, tensor(at)


@given(course=courses())
@quick
def test_capacity_threshold_and_hysteresis_hold_at_every_moment(
    course: tuple[int, Tensor, list[float], Tensor],
) -> None:
    capacity, saliences, steps, at = course
    workspace = GlobalWorkspace(WorkspaceParameters(capacity=capacity))
    state = workspace.initial(*saliences.shape[1:])
    for s, step in zip(saliences, steps, strict=True):
        before, (found) = state, workspace.compete(state, s, at, BASELINE)
        state, theta = found.state, found.threshold[:, None]
        assert (found.active.sum(dim=1) <= capacity).all()
        assert not (found.ignited & (s < theta)).any()
        assert not (found.active & (s < theta - 0.1)).any()
        assert not (found.ignited & before.active).any()
        assert not (found.active & ~found.ignited & ~before.active).any()
        too_soon = before.time - before.last_ignition < 0.2 - 1e-6
        assert not (found.ignited.any(dim=1) & too_soon).any()
        # Whoever stays out did not lead the weakest content by more than delta.
        out = (s >= theta) & ~found.active & ~too_soon[:, None]
        weakest = torch.where(found.active, s, math.inf).amin(dim=1, keepdim=True)
        full = found.active.sum(dim=1, keepdim=True) == capacity
        assert not (out & ~(full & (s <= weakest + 0.1))).any()
        state = workspace.advance(state, step)


@given(course=courses(), seed=st.integers(0, 999))
@quick
def test_the_order_of_slots_does_not_matter(course: tuple[int, Tensor, list[float], Tensor], seed: int) -> None:
    capacity, saliences, steps, at = course
    workspace = GlobalWorkspace(WorkspaceParameters(capacity=capacity))
    n, k = saliences.shape[1:]
    order = torch.randperm(k, generator=torch.Generator().manual_seed(seed))
    names = torch.arange(k)
    first = second = workspace.initial(n, k)
    for s, step in zip(saliences, steps, strict=True):
        one = workspace.compete(first, s, at, BASELINE, priority=names)
        other = workspace.compete(second, s[:, order], at, BASELINE, priority=names[order])
        assert torch.equal(one.ignited[:, order], other.ignited)
        assert torch.equal(one.active[:, order], other.active)
        assert torch.equal(one.state.habituation[:, order], other.state.habituation)
        assert torch.equal(one.active, workspace.compete(first, s, at, BASELINE).active), "slots by default"
        first, second = workspace.advance(one.state, step), workspace.advance(other.state, step)


@given(course=courses())
@quick
def test_a_batch_equals_a_loop_and_a_stored_state_goes_on(course: tuple[int, Tensor, list[float], Tensor]) -> None:
    capacity, saliences, steps, at = course
    workspace = GlobalWorkspace(WorkspaceParameters(capacity=capacity))
    n, k = saliences.shape[1:]
    together, alone = workspace.initial(n, k), [workspace.initial(1, k) for _ in range(n)]
    for s, step in zip(saliences, steps, strict=True):
        together = workspace.from_arrays(workspace.to_arrays(together))
        together = workspace.advance(workspace.compete(together, s, at, BASELINE).state, step)
        for i in range(n):
            found = workspace.compete(alone[i], s[i : i + 1], at[i : i + 1], BASELINE)
            alone[i] = workspace.advance(found.state, step)
            for f in fields(WorkspaceState):
                assert torch.equal(getattr(together, f.name)[i : i + 1], getattr(alone[i], f.name)), f.name


def test_all_arrays_of_a_stored_state_are_needed() -> None:
    workspace = GlobalWorkspace()
    arrays = batched.to_arrays(workspace.initial(2, 3))
    del arrays["strength"]
    with pytest.raises(ValueError, match="strength"):
        workspace.from_arrays(arrays)


# Bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"w_B": -0.1}, "w_B is -0.1"),
        ({"kappa_B": 0.0}, "kappa_B is 0.0"),
        ({"eta": 1.5}, "eta is 1.5; write a share between 0 and 1"),
        ({"h_H": math.nan}, "h_H is nan"),
        ({"capacity": 0}, "capacity is 0"),
        ({"capacity": 2.5}, "capacity is 2.5"),
        ({"delta": 0.2}, r"write less than theta0 \(1 - threshold_modulation\) = 0.175"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WorkspaceParameters(**changes)  # type: ignore[arg-type]


def test_signals_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"relevance\[0, 1\] is NaN"):
        salience(signals(1.0, [0.5, math.nan]))
    with pytest.raises(ValueError, match="levels"):
        salience(signals([1.0]), tensor([[math.nan] * 5]))
    workspace = GlobalWorkspace()
    for seconds in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="0 or more"):
            workspace.advance(workspace.initial(1, 1), seconds)
