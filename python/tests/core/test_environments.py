"""The environments: what each place shows, that copies are independent, and that a state survives a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cognitive_actors.core.environments import (
    ENVIRONMENTS,
    Environment,
    EnvironmentState,
    GridWorld,
    ReversalBandit,
    TMaze,
    environment,
)
from cognitive_actors.core.model import GenerativeModel

NAMES = sorted(ENVIRONMENTS)


def random_actions(env: Environment[Any], agents: Tensor, move: int) -> Tensor:
    """Actions that depend on the agent and the move alone."""
    sizes = env.model(horizon=1).num_actions
    return torch.stack([(agents * 7919 + move * 31 + f) % n for f, n in enumerate(sizes)], dim=1)


def play(env: Environment[Any], agents: Tensor, seed: int, moves: int) -> tuple[EnvironmentState, list[Tensor]]:
    state, observations = env.reset(agents, seed)
    seen = [torch.stack(observations, dim=1)]
    for move in range(moves):
        state, observations = env.step(state, random_actions(env, agents, move))
        seen.append(torch.stack(observations, dim=1))
    return state, seen


def outcome(model: GenerativeModel, modality: str, **states: str) -> dict[str, float]:
    """P(outcome) by name, in a state given by the names of its factors' states."""
    m = [x.name for x in model.modalities].index(modality)
    p = model.A[m][0]
    for f in model.modalities[m].factors:
        p = p.select(1, model.factors[f].states.index(states[model.factors[f].name]))
    return {name: round(float(x), 6) for name, x in zip(model.modalities[m].outcomes, p, strict=True) if x > 0}


def destination(model: GenerativeModel, place: str, action: str) -> str:
    location = model.factors[0]
    column = model.B[0][0, :, location.states.index(place), location.actions.index(action)]
    assert float(column.max()) == 1
    return location.states[int(column.argmax())]


# Every environment --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(seed=st.integers(0, 2**64 - 1), first=st.integers(0, 2**40))
def test_an_agent_meets_the_same_world_alone_and_in_company(name: str, seed: int, first: int) -> None:
    env = environment(name)
    together, seen = play(env, first + torch.arange(5), seed, 8)
    alone, seen_alone = play(env, first + torch.tensor([3]), seed, 8)
    assert all(torch.equal(x[3:4], y) for x, y in zip(seen, seen_alone, strict=True))
    assert torch.equal(env.reward(together)[3:4], env.reward(alone))


@pytest.mark.parametrize("name", NAMES)
def test_a_state_survives_a_checkpoint_exactly(name: str) -> None:
    env = environment(name)
    state, _ = play(env, torch.arange(20), 2**64 - 1, 5)
    restored = env.state_class.from_arrays(state.to_arrays())
    assert type(restored) is type(state)
    assert restored.seed == state.seed
    for field, array in state.to_arrays().items():
        assert (array == restored.to_arrays()[field]).all() and array.dtype == restored.to_arrays()[field].dtype
    actions = random_actions(env, state.agents, 5)
    after, restored_after = env.step(state, actions), env.step(restored, actions)
    assert all(torch.equal(x, y) for x, y in zip(after[1], restored_after[1], strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_step_leaves_the_state_it_was_given_as_it_was(name: str) -> None:
    env = environment(name)
    state, _ = play(env, torch.arange(6), 0, 2)
    before = state.to_arrays()
    env.step(state, random_actions(env, state.agents, 2))
    assert all((before[field] == array).all() for field, array in state.to_arrays().items())


@pytest.mark.parametrize("name", NAMES)
def test_later_trials_and_other_seeds_are_other_worlds(name: str) -> None:
    env = environment(name)
    agents = torch.arange(200)
    hidden = "good_arm" if name == "reversal-bandit" else "hidden"
    worlds = [getattr(env.reset(agents, seed, step)[0], hidden) for seed, step in ((0, 0), (1, 0), (0, 100))]
    assert not torch.equal(worlds[0], worlds[1])
    assert not torch.equal(worlds[0], worlds[2])


@pytest.mark.parametrize("name", NAMES)
def test_observations_and_measures_fit_the_model(name: str) -> None:
    env = environment(name)
    model = env.model()
    state, seen = play(env, torch.arange(50), 4, env.moves)
    for observation in seen:
        assert observation.dtype == torch.int64
        assert (observation >= -1).all()
        assert (observation < torch.tensor(model.num_outcomes)).all()
    assert env.reward(state).shape == (50,)
    assert all(x.shape == (50,) and x.dtype == torch.float64 for x in env.measures(state).values())
    success = env.success(state)
    assert success is None if name == "reversal-bandit" else success is not None and success.dtype == torch.bool


@pytest.mark.parametrize("name", NAMES)
def test_wrong_actions_are_refused(name: str) -> None:
    env = environment(name)
    state, _ = env.reset(torch.arange(3), 0)
    sizes = env.model(horizon=1).num_actions
    with pytest.raises(ValueError, match=rf"write int64 \(3, {len(sizes)}\)"):
        env.step(state, torch.zeros(2, len(sizes), dtype=torch.int64))
    wrong = torch.zeros(3, len(sizes), dtype=torch.int64)
    wrong[1, 0] = sizes[0]
    with pytest.raises(ValueError, match=rf"actions\[1, 0\] is {sizes[0]}; write a number between 0 and"):
        env.step(state, wrong)


def test_checkpoint_arrays_must_be_complete() -> None:
    env = TMaze()
    arrays = env.reset(torch.arange(2), 0)[0].to_arrays()
    arrays.pop("hidden")
    with pytest.raises(ValueError, match="TMazeState lack \\['hidden'\\]"):
        env.state_class.from_arrays(arrays)


def test_unknown_names_and_settings_are_answered_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="'y-maze'; write one of t-maze, t-maze-simplified, grid-world, reversal-band"):
        environment("y-maze")
    with pytest.raises(ValueError, match="t-maze has no option 'variant'; write one of cue_validity, reward_prob"):
        environment("t-maze", variant="simplified")
    with pytest.raises(ValueError, match=r"cue_validity is 1.5; write a probability"):
        environment("t-maze", cue_validity=1.5)
    with pytest.raises(ValueError, match=r"second_cues holds \(9, 9\), which is outside the grid"):
        GridWorld(second_cues=((9, 9),))
    with pytest.raises(ValueError, match=r"block is \(9, 3\)"):
        ReversalBandit(block=(9, 3))


# T-maze -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["adjacent", "simplified"])
def test_t_maze_places(variant: Any) -> None:
    maze = TMaze(cue_validity=0.75, reward_probability=0.98, punishment_probability=0.9, variant=variant)
    model = maze.model()
    for place in set(model.factors[0].states) - {"left_arm", "right_arm"}:
        assert outcome(model, "reward", location=place, condition="reward_left") == {"nothing": 1}
    assert outcome(model, "reward", location="left_arm", condition="reward_left") == {"nothing": 0.02, "reward": 0.98}
    assert outcome(model, "reward", location="right_arm", condition="reward_left") == {
        "nothing": 0.1,
        "punishment": 0.9,
    }
    cue = "cue" if variant == "adjacent" else "location"
    assert outcome(model, cue, location="cue", condition="reward_right") == {"cue_left": 0.25, "cue_right": 0.75}
    assert "cue_left" not in outcome(model, cue, location="centre", condition="reward_left")
    relative = model.C[1][0, 0] - model.C[1][0, 0, 0]
    assert relative.tolist() == pytest.approx([0, 2, -3], abs=1e-6)
    assert model.horizon == (3 if variant == "adjacent" else 2)
    assert model.D[1].tolist() == [[0.5, 0.5]]


def test_dependent_outcomes_leave_no_arm_empty() -> None:
    model = TMaze(reward_probability=0.75, dependent_outcomes=True).model()
    assert outcome(model, "reward", location="left_arm", condition="reward_left") == {
        "reward": 0.75,
        "punishment": 0.25,
    }
    assert outcome(model, "reward", location="left_arm", condition="reward_right") == {
        "reward": 0.25,
        "punishment": 0.75,
    }


def test_adjacent_moves_lead_to_neighbours_only() -> None:
    model = TMaze().model()
    assert destination(model, "centre", "go_cue") == "cue"
    assert destination(model, "centre", "go_middle") == "middle"
    assert destination(model, "middle", "go_left_arm") == "left_arm"
    for place, action in (("centre", "go_left_arm"), ("cue", "go_middle"), ("left_arm", "go_right_arm")):
        assert destination(model, place, action) == place


def test_simplified_moves_lead_anywhere() -> None:
    model = TMaze(variant="simplified").model()
    for place in model.factors[0].states:
        for there in model.factors[0].states:
            assert destination(model, place, f"go_{there}") == there


def test_t_maze_reports_the_first_arm_and_whether_the_cue_came_before() -> None:
    maze = TMaze(1.0, 1.0, condition="reward_right")
    state, _ = maze.reset(torch.arange(3), 0)
    # Agent 0: cue, then the right arm; agent 1: the left arm, then the cue; agent 2 stays.
    paths = torch.tensor([[3, 0, 4, 2], [4, 1, 4, 0], [0, 0, 0, 0]])
    for action in paths.T:
        state, _ = maze.step(state, torch.stack([action, torch.zeros(3, dtype=torch.int64)], dim=1))
    state, observations = maze.step(state, torch.tensor([[2, 0], [3, 0], [0, 0]]))
    measures = maze.measures(state)
    assert state.first_arm.tolist() == [1, 0, -1]
    assert measures["cue_first"].tolist() == [1, 0, 0]
    assert measures["first_arm_correct"][:2].tolist() == [1, 0] and measures["first_arm_correct"][2].isnan()
    assert maze.reward(state).tolist() == [1, 0, 0]
    assert observations[2].tolist() == [0, 2, 0]


@pytest.mark.parametrize("variant", ["adjacent", "simplified"])
def test_outcomes_come_as_often_as_the_model_says(variant: Any) -> None:
    maze = TMaze(cue_validity=0.8, variant=variant)
    state, observations = maze.reset(torch.arange(20_000), 5)
    state, observations = maze.step(state, torch.tensor([[3, 0]]).expand(20_000, 2))
    shown = observations[2] - 1 if variant == "adjacent" else observations[0] - 3
    # Four binomial standard errors of 20,000 draws.
    assert float((shown == state.hidden[:, 1]).double().mean()) == pytest.approx(0.8, abs=4 * 0.0028)
    assert float(state.hidden[:, 1].double().mean()) == pytest.approx(0.5, abs=4 * 0.0035)


# Grid world ---------------------------------------------------------------------------------------------------------


def test_grid_cues_point_to_each_other() -> None:
    model = GridWorld().model()
    world = {"speaking_cue": "cue_at_row_1_column_3", "rewarded_place": "reward_at_row_3_column_5"}
    assert outcome(model, "first_cue", location="row_2_column_0", **world) == {"look_at_row_1_column_3": 1}
    assert outcome(model, "first_cue", location="row_1_column_3", **world) == {"nothing": 1}
    assert outcome(model, "second_cue", location="row_1_column_3", **world) == {"go_to_row_3_column_5": 1}
    assert outcome(model, "second_cue", location="row_3_column_3", **world) == {"nothing": 1}
    assert outcome(model, "reward", location="row_3_column_5", **world) == {"reward": 1}
    assert outcome(model, "reward", location="row_1_column_5", **world) == {"punishment": 1}
    assert outcome(model, "reward", location="row_0_column_0", **world) == {"nothing": 1}
    assert model.num_policies == 5**4


def test_grid_moves_stop_at_the_edge() -> None:
    model = GridWorld(shape=(2, 3), first_cue=(0, 1), second_cues=((0, 2),), rewards=((1, 0), (1, 2))).model()
    assert destination(model, "row_0_column_1", "down") == "row_1_column_1"
    assert destination(model, "row_0_column_1", "right") == "row_0_column_2"
    assert destination(model, "row_0_column_1", "stay") == "row_0_column_1"
    for action, place in (("up", "row_0_column_0"), ("left", "row_0_column_0"), ("right", "row_1_column_2")):
        assert destination(model, place, action) == place


def test_grid_visits_are_reported() -> None:
    world = GridWorld()
    state, observations = world.reset(torch.arange(8), 1)
    down = torch.tensor([[1, 0, 0]]).expand(8, 3)
    for _ in range(2):
        state, observations = world.step(state, down)
    assert torch.equal(observations[1] - 1, state.hidden[:, 1])
    assert world.measures(state)["first_cue_read"].tolist() == [1] * 8
    assert world.measures(state)["second_cue_read"].tolist() == [0] * 8


# Reversal bandit ----------------------------------------------------------------------------------------------------


def good_arms(bandit: ReversalBandit, agents: int, moves: int) -> Tensor:
    """The good arm of every choice, (agents, moves)."""
    state, _ = bandit.reset(torch.arange(agents), 3)
    arms = []
    for _ in range(moves):
        state, _ = bandit.step(state, torch.zeros(agents, 1, dtype=torch.int64))
        arms.append(state.good_arm)
    return torch.stack(arms, dim=1)


def test_the_good_arm_changes_every_n_choices() -> None:
    arms = good_arms(ReversalBandit(block=15), 300, 60)
    changed = (arms[:, 1:] != arms[:, :-1]).nonzero()[:, 1] + 1
    assert sorted(set(changed.tolist())) == [15, 30, 45]
    assert len(changed) == 3 * 300
    assert set(arms.flatten().tolist()) == {0, 1, 2}


def test_the_good_arm_changes_after_between_lo_and_hi_choices() -> None:
    arms = good_arms(ReversalBandit(block=(3, 6)), 300, 60)
    for row in arms:
        blocks = row.unique_consecutive(return_counts=True)[1][:-1]
        assert int(blocks.min()) >= 3 and int(blocks.max()) <= 6
    lengths = torch.cat([row.unique_consecutive(return_counts=True)[1][:-1] for row in arms])
    assert set(lengths.tolist()) == {3, 4, 5, 6}


def test_the_good_arm_stays_without_a_schedule() -> None:
    arms = good_arms(ReversalBandit(block=None), 20, 100)
    assert torch.equal(arms, arms[:, :1].expand(-1, 100))


def test_arms_pay_as_often_as_they_should() -> None:
    bandit = ReversalBandit(block=None)
    state, (first,) = bandit.reset(torch.arange(500), 7)
    assert (first == -1).all()
    for _ in range(100):
        state, _ = bandit.step(state, torch.zeros(500, 1, dtype=torch.int64))
    share = state.earned.double() / 100
    good = state.good_arm == 0
    # Four binomial standard errors of at least 12,000 draws.
    assert float(share[good].mean()) == pytest.approx(0.9, abs=4 * 0.0027)
    assert float(share[~good].mean()) == pytest.approx(0.1, abs=4 * 0.0027)
    assert torch.equal(bandit.measures(state)["good_arm_chosen"], 100.0 * good)


def test_the_bandits_model_starts_ignorant() -> None:
    model = ReversalBandit(arms=4).model()
    assert model.pA is not None and model.pA[0].tolist() == [[[0.5] * 4, [0.5] * 4]]
    assert model.A[0].tolist() == [[[0.5] * 4, [0.5] * 4]]
    assert destination(model, "arm_3", "choose_arm_2") == "arm_2"
