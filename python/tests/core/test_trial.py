"""Agents and the environment they act in, trial by trial."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.modulator_parameters import MODULATORS
from cognitive_actors.core.trial import Simulation, learning_settings

MAZE = {"cue_validity": 0.95, "reward_probability": 0.98}


def played(
    name: str, options: dict[str, object], agents: torch.Tensor, chosen: CycleSettings, trials: int
) -> dict[str, np.ndarray]:
    """The columns of all trials, each (trials, agents)."""
    simulation = Simulation(name, options, agents, chosen)
    rows = [simulation.trial() for _ in range(trials)]
    return {column: np.stack([row[column] for row in rows]) for column in rows[0]}


def test_columns_hold_one_figure_per_agent() -> None:
    columns = played("t-maze", dict(MAZE), torch.arange(50), CycleSettings(), 2)
    assert {"reward", "success", "free_energy", *MODULATORS} <= columns.keys()
    for values in columns.values():
        assert values.shape == (2, 50)
    assert np.isfinite(columns["free_energy"]).all() and columns["success"].mean() > 0.9


def test_agents_do_not_depend_on_whom_they_are_simulated_with_or_on_when() -> None:
    agents, chosen = torch.arange(12), CycleSettings(alpha=1.0, precision=1.0, seed=4)
    whole = played("t-maze", dict(MAZE), agents, chosen, 3)
    again = played("t-maze", dict(MAZE), agents, chosen, 3)
    halves = [played("t-maze", dict(MAZE), part, chosen, 3) for part in (agents[:5], agents[5:])]
    for name, values in whole.items():
        np.testing.assert_array_equal(values, again[name])
        np.testing.assert_allclose(np.concatenate([h[name] for h in halves], axis=1), values, rtol=1e-4, atol=1e-4)


def test_trials_begin_anew_at_a_time_of_their_own() -> None:
    """Random draws follow the step: no step of one trial may come again in the next."""
    simulation = Simulation("t-maze", MAZE, torch.arange(5), CycleSettings())
    moves = simulation.environment.moves
    for trial in (1, 2, 3):
        simulation.trial()
        assert simulation.clock.tolist() == [trial * (moves + 1)] * 5
        assert simulation.population.trial_step.tolist() == [moves + 1] * 5
        assert simulation.population.step.tolist() == [trial * (moves + 1)] * 5


def test_a_later_trial_is_another_trial() -> None:
    columns = played("t-maze", dict(MAZE), torch.arange(200), CycleSettings(alpha=1.0, precision=1.0), 2)
    assert (columns["reward"][0] != columns["reward"][1]).any()


def test_another_seed_is_another_world() -> None:
    first, second = (
        played("t-maze", dict(MAZE), torch.arange(200), CycleSettings(seed=seed), 1)["free_energy"] for seed in (0, 1)
    )
    assert (first != second).any()


def test_learning_what_arms_pay_raises_reward_in_the_reversal_bandit() -> None:
    options: dict[str, object] = {"block": 50, "moves": 100}
    chosen = CycleSettings.plain(alpha=1.0, precision=8.0, retention=0.9, seed=3)
    learning = learning_settings("reversal-bandit", options, chosen)
    assert (learning.learn_A, learning.learn_B, learning.learn_D) == (True, False, False)
    assert learning.parameter_information_gain
    agents = torch.arange(150)
    with_it, without = (
        played("reversal-bandit", options, agents, s, 2)["reward"].mean(axis=1) for s in (learning, chosen)
    )
    # Chance is 37 payments in 100 choices.
    assert without == pytest.approx(np.full(2, 37), abs=4)
    assert (with_it > without + 20).all()


def test_what_was_learned_outlasts_the_trial() -> None:
    """The good arm never changes: the second trial begins where the first ended."""
    options: dict[str, object] = {"block": None, "moves": 20}
    chosen = learning_settings("reversal-bandit", options, CycleSettings.plain(precision=8.0))
    simulation = Simulation("reversal-bandit", options, torch.arange(200), chosen)
    simulation.trial()
    counts = simulation.population.pA
    assert counts is not None and float(counts[0].sum(dim=(1, 2)).mean()) == pytest.approx(3 + 20, abs=0.01)
    assert simulation.population.step.tolist() == [21] * 200


def test_an_environment_without_counts_has_nothing_to_learn() -> None:
    chosen = CycleSettings(precision=2.0)
    assert learning_settings("t-maze", {}, chosen) == chosen
