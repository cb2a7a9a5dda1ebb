"""The cognitive cycle as a whole: neutral at rest, one agent as many, restored as continued."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from random_models import MIXED, SEEDS, Structure, build, random_observations, structures
from torch import Tensor

from cognitive_actors.core import batched
from cognitive_actors.core.appraisal import Drives
from cognitive_actors.core.couplings import Couplings
from cognitive_actors.core.cycle import CognitiveCycle, CycleSettings, Outcome, Population
from cognitive_actors.core.expected_free_energy import Planner
from cognitive_actors.core.inference import infer_states, predict_states
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.philox import Philox
from cognitive_actors.core.selection import policy_posterior, select_action
from cognitive_actors.core.workspace import WorkspaceParameters

AGENTS = 4
CYCLES = 3
EVERYTHING = CycleSettings(
    alpha=1.0,
    learn_A=True,
    learn_B=True,
    learn_D=True,
    parameter_information_gain=True,
    retention=0.9,
    gate=True,
    couplings=Couplings(preference_precision=True),
)


def social(model: GenerativeModel) -> GenerativeModel:
    """The same with a first modality that is social."""
    first, *rest = model.modalities
    return replace(model, modalities=(replace(first, social=True), *rest))


def deltas(seed: int, agents: int = AGENTS) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(agents, 5, generator=random, dtype=torch.float64) - 0.5) / 2


def live(
    cycle: CognitiveCycle, population: Population, seed: int, cycles: int = CYCLES, delta: Tensor | None = None
) -> tuple[Population, list[Outcome]]:
    outcomes = []
    for t in range(cycles):
        observations = random_observations(cycle.model, len(population.agents), seed + t)
        population, outcome = cycle.step(population, observations, 0.7, delta)
        outcomes.append(outcome)
    return population, outcomes


def assert_same(x: object, y: object, tolerance: float = 0.0) -> None:
    mine, yours = dict(batched.leaves(x)), dict(batched.leaves(y))
    assert mine.keys() == yours.keys()
    for name, values in mine.items():
        other = yours[name]
        assert torch.allclose(values, other, rtol=0, atol=tolerance, equal_nan=True), f"{name}: {values} and {other}"


# Neutral at rest ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(structures(), SEEDS)
@settings(max_examples=15)
def test_at_baseline_the_couplings_change_no_bit(dtype: torch.dtype, structure: Structure, seed: int) -> None:
    model = social(build(structure, seed, counts=True, dtype=dtype))
    same = {"learn_A": True, "learn_D": True, "alpha": 1.0, "discount_half_life": 8.0}
    coupled = CycleSettings(drives=Drives.none(), couplings=Couplings(preference_precision=True), **same)  # type: ignore[arg-type]
    ends = []
    for chosen in (coupled, CycleSettings.plain(**same)):
        cycle = CognitiveCycle(model, chosen)
        ends.append(live(cycle, cycle.initial(AGENTS), seed))
    (first, one), (second, other) = ends
    assert_same(first, second)
    for x, y in zip(one, other, strict=True):
        assert_same(x, y)


@given(structures(), SEEDS)
@settings(max_examples=15)
def test_at_baseline_the_cycle_is_the_plain_engine_called_by_hand(structure: Structure, seed: int) -> None:
    model = build(structure, seed)
    cycle = CognitiveCycle(model, CycleSettings(drives=Drives.none(), alpha=2.0, seed=9))
    population = cycle.initial(AGENTS)
    planner, prior = Planner(model), tuple(D.expand(AGENTS, -1) for D in model.D)
    weights = torch.exp2(-torch.arange(model.horizon, dtype=torch.float64) / 8)[None]
    for t in range(CYCLES):
        observations = random_observations(model, AGENTS, seed + t)
        population, outcome = cycle.step(population, observations)
        inferred = infer_states(model, observations, prior)
        G = planner.expected_free_energy(inferred.beliefs, weights)
        posterior = policy_posterior(G, 4.0, model.E)
        action = select_action(posterior, model.num_actions, alpha=2.0, generator=Philox(9), step=t)
        prior = predict_states(model, inferred.beliefs, action)
        assert torch.equal(outcome.action, action)
        assert torch.equal(outcome.free_energy, inferred.free_energy)
        assert_same(population.beliefs, inferred.beliefs)
        assert_same(population.prior, prior)
        torch.testing.assert_close(outcome.expected_free_energy, (posterior * G).sum(dim=1), rtol=0, atol=0)
        torch.testing.assert_close(outcome.policy_entropy, -(posterior * posterior.log()).sum(dim=1))


def test_levels_rest_at_baseline_until_something_moves_them() -> None:
    cycle = CognitiveCycle(build(MIXED, 0), CycleSettings(drives=Drives.none()))
    _, outcomes = live(cycle, cycle.initial(AGENTS), 0)
    assert torch.equal(outcomes[-1].levels, cycle.baseline.expand(AGENTS, -1))


# Many as one --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("chosen", [EVERYTHING, replace(EVERYTHING, selection="full", method="joint", gate=False)])
def test_a_batch_equals_a_loop_over_single_agents(own: bool, chosen: CycleSettings) -> None:
    model = social(build(MIXED, 3, agents=AGENTS if own else None, counts=True, changing=True))
    cycle = CognitiveCycle(model, chosen)
    agents = torch.tensor([7, 2**40, 3, 11])
    together, outcomes = live(cycle, cycle.initial(agents), 5, delta=deltas(1))
    for n in range(AGENTS):
        one = torch.tensor([n])
        single = CognitiveCycle(batched.take(model, one) if own else model, chosen)
        alone = single.initial(agents[one])
        for t in range(CYCLES):
            observations = batched.take(random_observations(model, AGENTS, 5 + t), one)
            alone, outcome = single.step(alone, observations, 0.7, deltas(1)[one])
            assert_same(outcome, batched.take(outcomes[t], one), 1e-12)
        assert_same(alone, batched.take(together, one), 1e-12)


def test_agents_may_have_waited_for_different_times() -> None:
    cycle = CognitiveCycle(build(MIXED, 1), CycleSettings(time_scale=2.0))
    observations = random_observations(cycle.model, 2, 0, 0)
    population, _ = cycle.step(cycle.initial(2, time=torch.tensor([0.0, 5.0])), observations, torch.tensor([1.0, 3.0]))
    assert population.time.tolist() == [2.0, 11.0] == population.workspace.time.tolist()


def test_nobody_does_nothing() -> None:
    cycle = CognitiveCycle(build(MIXED, 1, counts=True), EVERYTHING)
    population, outcomes = live(cycle, cycle.initial(0), 0)
    assert outcomes[-1].action.shape == (0, 3) and outcomes[-1].levels.shape == (0, 5)
    assert len(population.agents) == 0


# Restored as continued ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stored_population_continues_to_the_bit(dtype: torch.dtype) -> None:
    cycle = CognitiveCycle(social(build(MIXED, 4, counts=True, dtype=dtype)), EVERYTHING)
    population, _ = live(cycle, cycle.initial(AGENTS), 0, delta=deltas(2))
    restored = batched.from_arrays(cycle.initial(0), batched.to_arrays(population))
    assert_same(population, restored)
    ends = [live(cycle, p, 50, delta=deltas(3)) for p in (population, restored)]
    assert_same(ends[0][0], ends[1][0])
    assert_same(tuple(o.action for o in ends[0][1]), tuple(o.action for o in ends[1][1]))


def test_a_step_leaves_the_population_it_was_given_as_it_was() -> None:
    cycle = CognitiveCycle(build(MIXED, 4, counts=True), EVERYTHING)
    population, _ = live(cycle, cycle.initial(AGENTS), 0)
    before = batched.to_arrays(population)
    first = live(cycle, population, 1)
    assert_same(batched.from_arrays(cycle.initial(0), before), population)
    assert_same(first[0], live(cycle, population, 1)[0])


@pytest.mark.parametrize("moment", ["initial", "trial", "step"])
def test_no_two_tensors_of_a_population_share_memory(moment: str) -> None:
    """Owners of large populations write rows in place."""
    cycle = CognitiveCycle(build(MIXED, 4, counts=True), EVERYTHING)
    agents = torch.arange(AGENTS)
    population = cycle.initial(agents)
    if moment == "trial":
        population = cycle.begin_trial(population)
    elif moment == "step":
        population, _ = live(cycle, population, 0, cycles=1)
    tensors = [("given", agents), *batched.leaves(population)]
    owner = {x.untyped_storage().data_ptr(): name for name, x in tensors if x.numel()}
    assert sorted(owner.values()) == sorted(name for name, x in tensors if x.numel())


def test_begin_trial_returns_to_the_start_but_keeps_what_was_learned_and_felt() -> None:
    cycle = CognitiveCycle(build(MIXED, 4, counts=True), EVERYTHING)
    lived, _ = live(cycle, cycle.initial(AGENTS), 0)
    anew = cycle.begin_trial(lived)
    assert anew.trial_step.tolist() == [0] * AGENTS and anew.step.tolist() == [CYCLES] * AGENTS
    assert anew.pA is lived.pA and anew.modulators is lived.modulators and anew.workspace is lived.workspace
    assert lived.pD is not None
    for prior, pD in zip(anew.prior, lived.pD, strict=True):
        torch.testing.assert_close(prior, pD / pD.sum(dim=1, keepdim=True))
    plain = CognitiveCycle(build(MIXED, 4, counts=True))
    for prior, D in zip(plain.begin_trial(plain.initial(2)).prior, plain.model.D, strict=True):
        assert torch.equal(prior, D.expand(2, -1))


# The global workspace as a gate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 2])
def test_with_the_gate_only_what_is_broadcast_reaches_inference(capacity: int) -> None:
    model = build(MIXED, 6)
    chosen = CycleSettings.plain(gate=True, workspace=WorkspaceParameters(capacity=capacity, theta0=0.15, delta=0.01))
    cycle = CognitiveCycle(model, chosen)
    population = cycle.initial(40)
    seen = 0
    for t in range(5):
        observations = random_observations(model, 40, t)
        before = population
        population, outcome = cycle.step(before, observations)
        gated = tuple(torch.where(outcome.broadcast[:, m], o, -1) for m, o in enumerate(observations))
        assert_same(population.beliefs, infer_states(model, gated, before.prior).beliefs)
        assert bool((outcome.broadcast.sum(dim=1) <= capacity).all())
        seen += int(outcome.broadcast.sum())
    assert 0 < seen < 5 * 40 * 3


def test_what_never_ignites_is_never_known() -> None:
    model = build(MIXED, 6, counts=True)
    deaf = WorkspaceParameters(theta0=100.0)
    cycle = CognitiveCycle(model, CycleSettings.plain(gate=True, learn_A=True, workspace=deaf))
    start = cycle.initial(AGENTS)
    after, outcome = cycle.step(start, random_observations(model, AGENTS, 0, 0))
    assert not bool(outcome.broadcast.any())
    assert_same(after.beliefs, start.prior, 1e-14)
    assert_same(after.pA, start.pA)


# Learning -----------------------------------------------------------------------------------------------------------


def test_transitions_are_learned_from_the_second_cycle_of_a_trial_and_beginnings_in_the_first() -> None:
    cycle = CognitiveCycle(build(MIXED, 8, counts=True), CycleSettings.plain(learn_B=True, learn_D=True))
    population = cycle.initial(AGENTS)
    for _ in range(2):
        grown = []
        for t in range(3):
            before = population
            population, _ = cycle.step(population, random_observations(cycle.model, AGENTS, t))
            pairs = ((before.pB, population.pB), (before.pD, population.pD))
            grown.append([sum(float((y - x).sum()) for x, y in zip(a or (), b or (), strict=True)) for a, b in pairs])
        # One count per factor and agent.
        assert grown == [pytest.approx(x) for x in ([0, 3 * AGENTS], [3 * AGENTS, 0], [3 * AGENTS, 0])]
        population = cycle.begin_trial(population)


def test_transitions_learned_are_those_lived() -> None:
    cycle = CognitiveCycle(build(MIXED, 8, counts=True), CycleSettings.plain(learn_B=True, retention=0.5))
    first, _ = cycle.step(cycle.initial(1), random_observations(cycle.model, 1, 0, 0))
    second, _ = cycle.step(first, random_observations(cycle.model, 1, 1, 0))
    assert first.pB is not None and second.pB is not None and cycle.model.pB is not None
    for f, (initial, before, after) in enumerate(zip(cycle.model.pB, first.pB, second.pB, strict=True)):
        expected = initial + (before - initial) / 2
        expected[0, :, :, first.action[0, f]] += torch.outer(second.beliefs[f][0], first.beliefs[f][0])
        torch.testing.assert_close(after, expected)


def test_plans_use_what_the_last_outcome_taught() -> None:
    model = build(MIXED, 8, counts=True)
    cycle = CognitiveCycle(model, CycleSettings.plain(learn_A=True, parameter_information_gain=True))
    population, outcome = cycle.step(cycle.initial(AGENTS), random_observations(model, AGENTS, 0, 0))
    assert population.pA is not None
    learned = replace(model, pA=population.pA, A=tuple(x / x.sum(dim=1, keepdim=True) for x in population.pA))
    G = Planner(learned, parameter_information_gain=True).expected_free_energy(population.beliefs)
    expected = (policy_posterior(G, 4.0, model.E) * G).sum(dim=1)
    torch.testing.assert_close(outcome.expected_free_energy, expected, rtol=0, atol=1e-12)


# Devices ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("own", [False, True])
def test_every_tensor_is_made_where_the_model_is(own: bool) -> None:
    """A tensor made on the default device, here one without data, could not be mixed with the model's."""
    model = social(build(MIXED, 2, agents=AGENTS if own else None, counts=True, changing=True))
    observations = [random_observations(model, AGENTS, t) for t in range(CYCLES)]
    delta, agents = deltas(4), torch.arange(AGENTS)
    # The modulators compute some constants in numpy, once, wherever the agents are.
    earlier = CognitiveCycle(model)
    earlier.step(earlier.initial(AGENTS), observations[0])
    torch.set_default_device("meta")
    try:
        for chosen in (EVERYTHING, CycleSettings.plain(method="joint")):
            cycle = CognitiveCycle(model, chosen)
            cycle.modulators = earlier.modulators
            population = cycle.begin_trial(cycle.initial(agents))
            for seen in observations:
                population, outcome = cycle.step(population, seen, delta=delta)
            assert {x.device.type for _, x in (*batched.leaves(population), *batched.leaves(outcome))} == {"cpu"}
            assert {x.device.type for _, x in batched.leaves(cycle.initial(AGENTS))} == {"cpu"}
    finally:
        torch.set_default_device(None)


# Errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"precision": 0.0}, "precision is 0.0; write a finite number greater than 0"),
        ({"precision": float("nan")}, "precision is nan; write a finite number greater than 0"),
        ({"alpha": 0.0}, "alpha is 0.0; write a finite number greater than 0, or None"),
        ({"selection": "best"}, r"selection is 'best'; write one of \('marginal', 'full'\)"),
        ({"method": "exact"}, r"method is 'exact'; write one of \('fixed-point', 'joint'\)"),
        ({"discount_half_life": 0.0}, "discount_half_life is 0.0; write steps greater than 0, inf for no discount"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0; write a finite number of 0 or more"),
        ({"retention": 1.5}, "retention is 1.5; write a share between 0 and 1"),
        ({"time_scale": float("inf")}, "time_scale is inf; write a finite number greater than 0"),
        ({"seed": -1}, r"seed is -1; write a whole number from 0 to 2\*\*64 - 1"),
    ],
)
def test_settings_out_of_their_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CycleSettings(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("flag", ["learn_A", "learn_B", "learn_D"])
def test_learning_needs_counts(flag: str) -> None:
    message = f"{flag} needs Dirichlet counts; add p{flag[-1]} to the model, or switch {flag} off"
    with pytest.raises(ValueError, match=message):
        CognitiveCycle(build(MIXED, 0), CycleSettings(**{flag: True}))  # type: ignore[arg-type]


def test_a_model_of_each_agents_own_takes_these_agents_alone() -> None:
    cycle = CognitiveCycle(build(MIXED, 0, agents=3))
    with pytest.raises(ValueError, match="there are 2 agents and the model is for 3; write as many as it is for"):
        cycle.initial(2)


def test_wrong_observations_are_refused() -> None:
    cycle = CognitiveCycle(build(MIXED, 0))
    good = random_observations(cycle.model, 2, 0)
    for wrong, message in (
        (good[:2], "observations has length 2; write 3 tensors"),
        ((*good[:2], good[2] + 9), "an outcome of modality 'modality_2' is outside 0..3"),
        ((*good[:2], good[2].float()), "modality 'modality_2' has torch.float32 observations; write int64"),
    ):
        with pytest.raises(ValueError, match=message):
            cycle.step(cycle.initial(2), wrong)
