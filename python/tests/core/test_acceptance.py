"""Agents in their tasks reach the known figures: T-maze, chained cues, reversal bandit.

Everything is compared within four standard errors of the difference between two samples, ours and the reference's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import pytest
import torch
from torch import Tensor

from cognitive_actors.core.environments import Environment, EnvironmentState, GridWorld, ReversalBandit, TMaze
from cognitive_actors.core.expected_free_energy import Planner
from cognitive_actors.core.inference import infer_states, predict_states
from cognitive_actors.core.learning import forget, own_counts, update_likelihood_counts, with_counts
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.philox import Philox
from cognitive_actors.core.selection import policy_posterior, select_action

S = TypeVar("S", bound=EnvironmentState)

SEED = 1
ERRORS = 4


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The tensors are small: on a busy machine a second thread costs more than it brings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def live(
    env: Environment[S],
    agents: Tensor,
    *,
    precision: float = 1.0,
    stochastic: bool = False,
    horizon: int | None = None,
    state_information_gain: bool = True,
) -> S:
    """One trial of every agent; the state at its end."""
    model = env.model(horizon=horizon)
    planner = Planner(model, state_information_gain=state_information_gain)
    state, observations = env.reset(agents, SEED)
    prior = None
    for _ in range(env.moves):
        beliefs = infer_states(model, observations, prior).beliefs
        actions = select_action(
            policy_posterior(planner.expected_free_energy(beliefs), precision),
            model.num_actions,
            mode="full",
            alpha=1.0 if stochastic else None,
            generator=Philox(SEED),
            agents=agents,
            step=state.step,
        )
        state, observations = env.step(state, actions)
        prior = predict_states(model, beliefs, actions)
    return state


# T-maze -------------------------------------------------------------------------------------------------------------

MEASURES = ("cue_first", "reached_arm", "first_arm_correct", "final_reward")
#: pymdp 1.0.4, 20,000 agents, PRNGKey(7), sampling_mode="full", alpha 1: variant, cue validity, reward probability,
#: gamma (None: the most probable policy), then MEASURES to three decimals.
PYMDP_AGENTS = 20_000
PYMDP = [
    ("adjacent", 1.0, 1.0, None, (1.0, 1.0, 1.0, 1.0)),
    ("adjacent", 0.95, 0.98, None, (1.0, 1.0, 0.947, 0.982)),
    ("adjacent", 0.75, 0.98, None, (1.0, 1.0, 0.752, 0.982)),
    ("adjacent", 0.5, 0.98, None, (0.0, 1.0, 0.503, 0.982)),
    ("adjacent", 0.95, 0.98, 0.25, (0.597, 0.310, 0.552, 0.200)),
    ("adjacent", 0.95, 0.98, 1.0, (0.785, 0.382, 0.758, 0.351)),
    ("adjacent", 0.95, 0.98, 4.0, (0.995, 0.992, 0.951, 0.969)),
    ("adjacent", 0.95, 0.98, 16.0, (1.0, 1.0, 0.947, 0.981)),
    ("simplified", 1.0, 1.0, None, (1.0, 1.0, 1.0, 1.0)),
    ("simplified", 0.95, 0.98, None, (1.0, 1.0, 0.948, 0.980)),
    ("simplified", 0.75, 0.98, None, (0.0, 1.0, 0.503, 0.980)),
    ("simplified", 0.5, 0.98, None, (0.0, 1.0, 0.503, 0.980)),
    ("simplified", 0.95, 0.98, 0.25, (0.358, 0.941, 0.579, 0.389)),
    ("simplified", 0.95, 0.98, 1.0, (0.414, 0.984, 0.682, 0.759)),
    ("simplified", 0.95, 0.98, 4.0, (0.647, 1.0, 0.789, 0.979)),
    ("simplified", 0.95, 0.98, 16.0, (0.989, 1.0, 0.943, 0.980)),
]
#: The reference is rounded to three decimals.
ROUNDING = 0.0005


@pytest.mark.parametrize(("variant", "cue", "reward", "gamma", "expected"), PYMDP)
def test_t_maze(variant: str, cue: float, reward: float, gamma: float | None, expected: tuple[float, ...]) -> None:
    env = TMaze(cue_validity=cue, reward_probability=reward, variant=variant)  # type: ignore[arg-type]
    state = live(env, torch.arange(4000), precision=gamma or 1.0, stochastic=gamma is not None)
    measured = env.measures(state)
    for name, reference in zip(MEASURES, expected, strict=True):
        values = measured[name]
        agents = int((~values.isnan()).sum())
        others = PYMDP_AGENTS * agents / len(values)
        # A share printed as 0 or 1 may lie half a digit inside, and has the binomial spread of that.
        p = min(max(reference, ROUNDING), 1 - ROUNDING)
        allowed = ROUNDING + ERRORS * math.sqrt(p * (1 - p) * (1 / agents + 1 / others))
        assert float(values.nanmean()) == pytest.approx(reference, abs=allowed), name


@pytest.mark.parametrize("variant", ["adjacent", "simplified"])
def test_without_state_information_gain_nobody_leaves_the_start(variant: str) -> None:
    env = TMaze(cue_validity=1.0, reward_probability=1.0, variant=variant)  # type: ignore[arg-type]
    measured = env.measures(live(env, torch.arange(1000), state_information_gain=False))
    assert float(measured["cue_first"].sum()) == 0
    assert float(measured["reached_arm"].sum()) == 0


# Chained cues -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("horizon", "solved"), [(4, 7), (6, 8)])
def test_chained_cues(horizon: int, solved: int) -> None:
    """Of the 8 worlds, the one whose reward is 6 moves from the second cue needs a horizon of 6."""
    env = GridWorld()
    state, _ = env.reset(torch.arange(200), SEED)
    worlds = state.hidden[:, 1] * 2 + state.hidden[:, 2]
    one_of_each = torch.stack([(worlds == w).nonzero()[0, 0] for w in range(8)])
    end = live(env, one_of_each, horizon=horizon)
    assert bool(end.cues.all())
    assert int(env.success(end).sum()) >= solved


# Reversal bandit ----------------------------------------------------------------------------------------------------

BLOCKS: tuple[int | tuple[int, int], ...] = (15, 50, (10, 60))
RATES = (2.0, 4.0, 8.0, 16.0, 32.0, math.inf)
#: Mean payments in 150 choices of 2000 agents, measured with another implementation of the same agent; rows as
#: BLOCKS, columns as RATES (chance 55, oracle 135). CONTROLLED: under norepinephrine.
FIXED = ((103.3, 104.4, 96.3, 82.7, 72.6, 64.3), (110.5, 118.8, 120.8, 117.9, 110.5, 84.5),
         (108.7, 115.1, 114.5, 108.4, 99.2, 78.1))  # fmt: skip
CONTROLLED = (101.2, 121.6, 116.3)
AGENTS = 2000
PRECISION = 8.0
#: The form of norepinephrine's drive was settled while looking at seeds 1, 2 and 22, its gain is chosen on TUNING.
#: TESTED was first played by the finished test.
TUNING, TESTED = 2, 3


@dataclass(frozen=True)
class Earnings:
    """mean and its standard error, (groups,) payments."""

    mean: Tensor
    error: Tensor


class FixedRate:
    """Forgetting at one rate per agent, whatever happens."""

    def __init__(self, alpha: Tensor) -> None:
        self.retention = 1 - 1 / alpha

    def __call__(self, surprise: Tensor) -> Tensor:
        return self.retention


class Norepinephrine:
    """Forgetting under phasic norepinephrine: unexpected surprise raises it above its baseline of 0.4, half of the
    excess is gone after a trial, and a high level lets the counts fade fast (Sales et al. 2019). Nothing bounds the
    level, so that the rate comes as near to 2 as the surprise demands."""

    baseline = 0.4

    def __init__(self, gain: Tensor) -> None:
        self.gain = gain
        self.level = torch.full_like(gain, self.baseline)

    def __call__(self, surprise: Tensor) -> Tensor:
        self.level = self.baseline + (self.level - self.baseline) / 2 + self.gain * surprise
        return 1 - 1 / (2 + 30 / (1 + torch.exp(8 * (self.level - 0.6))))


def unexpected_surprise(model: GenerativeModel, beliefs: Tensor, outcome: Tensor) -> Tensor:
    """-ln p(o) beyond its expectation, (agents,) nats, under the predicted outcomes."""
    predicted = torch.einsum("nos,ns->no", model.A[0], beliefs)
    log_p = predicted.log()
    return (predicted * log_p).sum(dim=-1) - log_p.gather(1, outcome[:, None])[:, 0]


def earn(
    block: int | tuple[int, int], groups: Tensor, controller: type[FixedRate | Norepinephrine], seed: int
) -> Earnings:
    """Play the bandit with AGENTS agents for every setting in ``groups``; the groups meet the same worlds."""
    env = ReversalBandit(block=block)
    agents = torch.arange(AGENTS).repeat(len(groups))
    retention = controller(groups.repeat_interleave(AGENTS))
    model = own_counts(env.model(), len(agents))
    assert model.pA is not None
    initial = pA = model.pA[0]
    state, observations = env.reset(agents, seed)
    beliefs = infer_states(model, observations).beliefs
    for _ in range(env.moves):
        G = Planner(model, parameter_information_gain=True).expected_free_energy(beliefs)
        actions = select_action(
            policy_posterior(G, PRECISION),
            model.num_actions,
            alpha=1.0,
            generator=Philox(seed),
            agents=agents,
            step=state.step,
        )
        state, observations = env.step(state, actions)
        beliefs = predict_states(model, beliefs, actions)
        keep = retention(unexpected_surprise(model, beliefs[0], observations[0]))
        faded = with_counts(model, (forget(pA, initial, keep),))
        (pA,) = update_likelihood_counts(faded, observations, beliefs)
        model = with_counts(model, (pA,))
    earned = state.earned.to(torch.float64).view(len(groups), AGENTS)
    return Earnings(earned.mean(dim=1), earned.std(dim=1) / math.sqrt(AGENTS))


@pytest.fixture(scope="module")
def fixed() -> list[Earnings]:
    return [earn(block, torch.tensor(RATES), FixedRate, TESTED) for block in BLOCKS]


@pytest.fixture(scope="module")
def controlled() -> list[Earnings]:
    """The gain is the one that earns most on the random schedule in other worlds; the test is in new ones."""
    gains = torch.tensor([0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.6])
    best = gains[earn(BLOCKS[2], gains, Norepinephrine, TUNING).mean.argmax()]
    return [earn(block, best[None], Norepinephrine, TESTED) for block in BLOCKS]


def allowed(error: Tensor) -> Tensor:
    """For the difference between two samples of the same size and spread."""
    return ERRORS * math.sqrt(2) * error


@pytest.mark.parametrize("schedule", range(len(BLOCKS)))
def test_bandit_with_fixed_forgetting(fixed: list[Earnings], schedule: int) -> None:
    earned = fixed[schedule]
    difference = (earned.mean - torch.tensor(FIXED[schedule])).abs()
    assert bool((difference < allowed(earned.error)).all()), earned.mean


@pytest.mark.parametrize("schedule", range(len(BLOCKS)))
def test_bandit_with_forgetting_under_norepinephrine(controlled: list[Earnings], schedule: int) -> None:
    earned = controlled[schedule]
    assert float(earned.mean) > CONTROLLED[schedule] - float(allowed(earned.error))


def test_norepinephrine_beats_every_fixed_rate_where_changes_are_unpredictable(
    fixed: list[Earnings], controlled: list[Earnings]
) -> None:
    assert bool((controlled[2].mean > fixed[2].mean + fixed[2].error).all())


def test_norepinephrine_beats_a_wrong_rate_by_far_and_keeps_up_with_the_best(
    fixed: list[Earnings], controlled: list[Earnings]
) -> None:
    total = float(sum(e.mean for e in controlled))
    alternatives = torch.stack([e.mean for e in fixed]).sum(dim=0)
    slow, fast, best = float(alternatives[RATES.index(32.0)]), float(alternatives[0]), float(alternatives.max())
    assert total > fast + 10
    assert total > slow + 40
    assert total > best
