"""Neuromodulators set parameters: neutral at baseline, monotone, each by its own switch."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import SEEDS, Structure, build, columns, structures
from torch import Tensor

from cognitive_actors.core.couplings import (
    SWITCHES,
    Couplings,
    Modulation,
    forgetting_time,
    modulated_model,
    modulation,
    phasic_precision,
    sharpen,
    step_weights,
)
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.modulator_parameters import GUIDE, MODULATORS, OPPONENT_PROCESS

BASELINE = torch.tensor(OPPONENT_PROCESS.baseline, dtype=torch.float64)
EVERYTHING = Couplings(preference_precision=True)
FACTORS = [f.name for f in fields(Modulation)]
#: The factor that each switch turns, in the order of SWITCHES; the modulator behind it; whether it rises with that.
COUPLED = list(
    zip(
        SWITCHES,
        FACTORS,
        (
            ("dopamine", 1),
            ("norepinephrine", 1),
            ("norepinephrine", -1),
            ("serotonin", 1),
            ("serotonin", 1),
            ("oxytocin", 1),
            ("cortisol", 1),
            ("cortisol", -1),
        ),
        strict=True,
    )
)
LEVELS = st.lists(st.floats(0, 1), min_size=5, max_size=5).map(lambda x: torch.tensor([x], dtype=torch.float64))


def factors_of(factors: Modulation) -> dict[str, Tensor]:
    return {name: getattr(factors, name) for name in FACTORS}


def one_level(name: str, value: float) -> Tensor:
    levels = BASELINE.clone()
    levels[MODULATORS.index(name)] = value
    return levels[None]


@pytest.mark.parametrize("baseline", [OPPONENT_PROCESS.baseline, GUIDE.baseline, (0.0,) * 5, (1.0,) * 5])
def test_every_factor_is_exactly_one_at_baseline(baseline: tuple[float, ...]) -> None:
    at_rest = torch.tensor(baseline, dtype=torch.float64)
    for x in factors_of(modulation(EVERYTHING, at_rest.expand(3, -1), at_rest)).values():
        assert x.tolist() == [1.0] * 3


@given(LEVELS)
@settings(max_examples=30)
def test_without_couplings_levels_change_nothing(levels: Tensor) -> None:
    for x in factors_of(modulation(Couplings.none(), levels, BASELINE)).values():
        assert x.tolist() == [1.0]


@pytest.mark.parametrize(("switch", "factor"), [c[:2] for c in COUPLED])
@given(LEVELS)
@settings(max_examples=15)
def test_each_switch_turns_its_own_factor_alone(switch: str, factor: str, levels: Tensor) -> None:
    every = factors_of(modulation(EVERYTHING, levels, BASELINE))
    alone = factors_of(modulation(Couplings.none().switched({switch: True}), levels, BASELINE))
    without = factors_of(modulation(EVERYTHING.switched({switch: False}), levels, BASELINE))
    for name in FACTORS:
        assert torch.equal(alone[name], every[name] if name == factor else torch.ones_like(every[name]))
        assert torch.equal(without[name], torch.ones_like(every[name]) if name == factor else every[name])


@pytest.mark.parametrize(("factor", "modulator", "sign"), [(f, *m) for _, f, m in COUPLED])
def test_each_factor_follows_its_modulator_and_no_other(factor: str, modulator: str, sign: int) -> None:
    steps = torch.linspace(0, 1, 21)
    for name in MODULATORS:
        levels = torch.cat([one_level(name, float(x)) for x in steps])
        values = getattr(modulation(EVERYTHING, levels, BASELINE), factor)
        if name == modulator:
            assert bool((sign * values.diff() > 0).all())
            assert float(values.min()) >= 0
        else:
            assert values.tolist() == [1.0] * len(steps)


def test_precisions_double_with_every_step_of_scale() -> None:
    levels = torch.cat([BASELINE[None], BASELINE[None] + 0.2, BASELINE[None] - 0.2])
    factors = modulation(Couplings(scale=0.2, preference_precision=True), levels, BASELINE)
    for name in ("policy_precision", "transition_precision", "horizon", "preference_precision", "social_precision"):
        assert getattr(factors, name).tolist() == pytest.approx([1.0, 2.0, 0.5])


def test_forgetting_time_is_sales_logistic() -> None:
    c = Couplings(forgetting_min=2, forgetting_max=32, forgetting_midpoint=0.6, forgetting_slope=8)
    assert float(forgetting_time(c, torch.tensor(0.6))) == pytest.approx(17.0)
    assert float(forgetting_time(c, torch.tensor(1e9))) == 2.0
    assert float(forgetting_time(c, torch.tensor(-1e9))) == 32.0
    retention = modulation(c, one_level("norepinephrine", 1.0), BASELINE).retention
    high, rest = (float(forgetting_time(c, torch.tensor(x, dtype=torch.float64))) for x in (1.0, 0.4))
    assert float(retention) == pytest.approx((1 - 1 / high) / (1 - 1 / rest))


def test_sharpening_by_hand() -> None:
    P = torch.tensor([[[0.8, 0.5], [0.2, 0.5]]], dtype=torch.float64)
    squared, root = sharpen(P, torch.tensor([2.0, 0.5]))
    assert squared.flatten().tolist() == pytest.approx([0.64 / 0.68, 0.5, 0.04 / 0.68, 0.5])
    assert root.flatten().tolist() == pytest.approx([2 / 3, 0.5, 1 / 3, 0.5])


@given(SEEDS, st.integers(2, 64), st.floats(0.05, 20))
@settings(max_examples=40)
def test_sharpening_keeps_zeros_and_sums(seed: int, outcomes: int, exponent: float) -> None:
    """Also where almost everything is zero, and the exponent small."""
    rng = torch.Generator().manual_seed(seed)
    P = torch.rand(1, outcomes, 4, generator=rng)
    P = P * (torch.rand(P.shape, generator=rng) < 0.3)
    P[:, :2] += 0.1
    P = P / P.sum(dim=1, keepdim=True)
    sharpened = sharpen(P, torch.tensor([exponent, 1.0, 1.0]))
    assert bool((sharpened[0][P[0] == 0] == 0).all())
    torch.testing.assert_close(sharpened.sum(dim=1), torch.ones(3, 4), rtol=0, atol=1e-5)
    assert torch.equal(sharpened[1], P[0]) and torch.equal(sharpened[2], P[0])
    order = P[0].argsort(dim=0, stable=True)
    assert bool((sharpened[0].gather(0, order).diff(dim=0) >= -1e-7).all())


def test_certainty_cannot_be_sharpened() -> None:
    P = torch.eye(3)[None]
    assert sharpen(P, torch.tensor([0.5, 3.0])) is P


@pytest.mark.parametrize("exponent", [0.0, 1e-30, 1e30])
def test_extreme_exponents_stay_probabilities(exponent: float) -> None:
    P = torch.tensor([[[0.7, 1.0], [0.3, 0.0]]])
    torch.testing.assert_close(sharpen(P, torch.tensor([exponent])).sum(dim=1), torch.ones(1, 2))


def modulated(model: GenerativeModel, **changes: float) -> GenerativeModel:
    at_rest = modulation(Couplings.none(), BASELINE.expand(2, -1), BASELINE)
    values = {name: torch.tensor([1.0, x], dtype=torch.float64) for name, x in changes.items()}
    return modulated_model(model, replace(at_rest, **values))


def social_model(structure: Structure, seed: int) -> GenerativeModel:
    """Every other modality is social."""
    model = build(structure, seed, changing=True)
    return replace(model, modalities=tuple(replace(m, social=i % 2 == 0) for i, m in enumerate(model.modalities)))


@given(structures(), SEEDS, st.floats(0.1, 8).filter(lambda x: x != 1))
@settings(max_examples=25)
def test_factors_change_their_own_arrays_of_their_own_agents_alone(structure: Structure, seed: int, x: float) -> None:
    model = social_model(structure, seed)
    assert modulated(model, policy_precision=x, horizon=x, habit_weight=x, depth=x, retention=x) is model
    touched = {"transition_precision": {"B"}, "social_precision": {"A"}, "preference_precision": {"C"}}
    for factor, labels in touched.items():
        after = modulated(model, **{factor: x})
        for label in "ABCD":
            for i, (was, now) in enumerate(zip(getattr(model, label), getattr(after, label), strict=True)):
                if label in labels and (label != "A" or model.modalities[i].social):
                    assert torch.equal(now[0], was[0])
                    wanted = torch.softmax(
                        (was[0] if label == "C" else was[0].log()) * x, dim=-1 if label == "C" else 0
                    )
                    got = now[min(1, len(now) - 1)]
                    torch.testing.assert_close(got.exp() if label == "C" else got, wanted)
                else:
                    assert now is was


HORIZON = 4


def at(**changes: float) -> Modulation:
    one = torch.ones(1, dtype=torch.float64)
    return Modulation(**{name: one * changes.get(name, 1.0) for name in FACTORS})


def test_step_weights_halve_with_the_half_life() -> None:
    weights = step_weights(2.0, HORIZON, at())
    assert weights is not None and weights.tolist() == [pytest.approx([2 ** (-t / 2) for t in range(HORIZON)])]
    longer = step_weights(2.0, HORIZON, at(horizon=4.0))
    assert longer is not None and longer.tolist() == [pytest.approx([2 ** (-t / 8) for t in range(HORIZON)])]


@pytest.mark.parametrize(("depth", "steps"), [(1.3, 4), (1.0, 4), (0.7, 3), (0.3, 1), (0.0, 1)])
def test_steps_beyond_the_planning_depth_do_not_count(depth: float, steps: int) -> None:
    weights = step_weights(float("inf"), HORIZON, at(depth=depth))
    if steps == HORIZON:
        assert weights is None
    else:
        assert weights is not None and weights.tolist() == [[1.0] * steps + [0.0] * (HORIZON - steps)]


def test_one_step_always_counts_in_full() -> None:
    assert step_weights(0.5, 1, at(horizon=0.1, depth=0.0)) is None


def scalar_phasic_precision(gamma: float, prior: list[float], posterior: list[float], G: list[float]) -> float:
    beta = 1 / gamma
    error = sum((after - before) * -g for after, before, g in zip(posterior, prior, G, strict=True))
    updated = max(beta - error / 2, beta / 2)
    return (1 / updated - gamma) / gamma


@given(SEEDS, st.floats(0.1, 20))
@settings(max_examples=40)
def test_phasic_precision_equals_the_scalar_update(seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    prior, posterior = (torch.tensor(columns(rng, 4, 3).T.copy()) for _ in range(2))
    G = torch.tensor(rng.normal(0, 3, (3, 4)))
    change = phasic_precision(torch.full((3,), gamma, dtype=torch.float64), prior, posterior, G)
    for n in range(3):
        expected = scalar_phasic_precision(gamma, prior[n].tolist(), posterior[n].tolist(), G[n].tolist())
        assert float(change[n]) == pytest.approx(expected, abs=1e-12)
        assert -1 <= float(change[n]) <= 1


def test_an_observation_that_favours_the_best_policies_raises_precision() -> None:
    G, prior = torch.tensor([[0.0, 1.0]] * 3), torch.tensor([[0.5, 0.5]] * 3)
    posterior = torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.1, 0.9]])
    better, same, worse = phasic_precision(torch.ones(3), prior, posterior, G).tolist()
    assert better > 0 and same == 0 and worse < 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": 0.0}, "scale is 0.0; write a level change greater than 0"),
        ({"forgetting_min": 1.0}, "forgetting_min is 1.0 and forgetting_max 32.0; write trials remembered"),
        ({"forgetting_max": 1.5}, "forgetting_min is 2.0 and forgetting_max 1.5; write trials remembered"),
        ({"habit_gain": -1.0}, "habit_gain is -1.0; write a finite number of 0 or more"),
        ({"depth_gain": float("nan")}, "depth_gain is nan; write a finite number"),
        ({"forgetting_slope": float("inf")}, "forgetting_slope is inf; write a finite number"),
    ],
)
def test_errors_say_what_to_write(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Couplings(**wrong)  # type: ignore[arg-type]


def test_an_unknown_switch_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="there is no coupling 'gaba'; write one of: policy_precision, "):
        Couplings().switched({"gaba": True})
