"""Anomaly scores: the running sums against all vectors at once, the tail against closed forms, calibrated scores."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import SEEDS
from torch import Tensor

from cognitive_actors.core.anomaly import AnomalyDetector, AnomalyState, chi_square_tail

quick = settings(max_examples=40)
FEATURES = st.integers(1, 6)


def normal(seed: int, rows: int, features: int, offset: float = 0.0) -> Tensor:
    """(1, rows, features) of one random covariance about ``offset``."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(0, 1, (1, rows, features)) @ rng.normal(0, 1, (features, features)) + offset)


def learned(x: Tensor, **options: float) -> tuple[AnomalyDetector, AnomalyState]:
    detector = AnomalyDetector(x.shape[2], **options)  # type: ignore[arg-type]
    return detector, detector.update(detector.initial(len(x)), x)


def ledoit_wolf(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Shrinkage and covariance as the paper writes them, vector by vector. x: (rows, features)."""
    n, p = x.shape
    y = x - x.mean(axis=0)
    S = y.T @ y / n
    m = np.trace(S) / p
    d2 = ((S - m * np.eye(p)) ** 2).sum() / p
    b2 = min(sum(((np.outer(v, v) - S) ** 2).sum() / p for v in y) / n**2, d2)
    return b2 / d2, b2 / d2 * m * np.eye(p) + (d2 - b2) / d2 * S


def test_two_vectors_by_hand() -> None:
    """(1, 0) and (-1, 0): S/n = diag(1, 0), m = 1/2, d^2 = 1/4, |y|^4 = 1 each, b^2 = (2/2 - 2/2)/4 = 0: rho = 0."""
    x = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    detector, state = learned(x, minimum=2, loading=0.5, smallest_variance=0.25)
    assert float(detector.shrinkage(state)) == 0
    torch.testing.assert_close(detector.covariance(state)[0], torch.diag(torch.tensor([1.5, 0.5])).double())
    # D^2 = 3^2/1.5 + 1/.5 = 8, and with two degrees of freedom the tail is exp(-D^2/2).
    found = detector.score(state, torch.tensor([[[3.0, 1.0]]]))
    assert float(found.distance) == pytest.approx(math.sqrt(8), abs=1e-12)
    assert float(found.p_value) == pytest.approx(math.exp(-4), abs=1e-12)


@given(SEEDS, FEATURES, st.integers(2, 40), st.sampled_from([0.0, 100.0]))
@quick
def test_the_running_covariance_is_that_of_ledoit_and_wolf(seed: int, p: int, rows: int, offset: float) -> None:
    x = normal(seed, rows, p + 1, offset)
    detector, state = learned(x, loading=1e-9)
    rho, covariance = ledoit_wolf(x[0].numpy())
    assert float(detector.shrinkage(state)) == pytest.approx(rho, abs=1e-8)
    torch.testing.assert_close(detector.covariance(state)[0], torch.from_numpy(covariance), rtol=1e-7, atol=1e-7)


@given(SEEDS, FEATURES, st.lists(st.integers(0, 7), min_size=1, max_size=8), st.sampled_from([0.0, 50.0]))
@quick
def test_in_parts_as_at_once(seed: int, p: int, parts: list[int], offset: float) -> None:
    """Including parts of no rows, rows that are not present, and any order."""
    rng = np.random.default_rng(seed)
    x = normal(seed, sum(parts), p, offset)
    detector, whole = learned(x)
    state, start = detector.initial(1), 0
    shuffled = x[:, rng.permutation(sum(parts))]
    for rows in parts:
        part = torch.cat([shuffled[:, start : start + rows], torch.full((1, 2, p), math.nan, dtype=x.dtype)], dim=1)
        present = torch.tensor([[True] * rows + [False] * 2])
        order = torch.from_numpy(rng.permutation(rows + 2))
        state, start = detector.update(state, part[:, order], present[:, order]), start + rows
    for field in fields(AnomalyState):
        a, b = getattr(state, field.name), getattr(whole, field.name)
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * (1 + float(b.abs().max())))


@given(SEEDS, st.integers(1, 4))
@quick
def test_distance_is_the_quadratic_form(seed: int, p: int) -> None:
    x = normal(seed, 30, p, 3.0)
    detector, state = learned(x)
    v = normal(seed + 1, 5, p)
    found = detector.score(state, v)
    inverse = np.linalg.inv(detector.covariance(state)[0].numpy())
    for row in range(5):
        away = v[0, row].numpy() - x[0].numpy().mean(axis=0)
        assert float(found.distance[0, row]) == pytest.approx(math.sqrt(away @ inverse @ away), rel=1e-7)


@given(SEEDS, st.integers(1, 5), st.floats(-50, 50), st.floats(0.05, 50))
@quick
def test_neither_place_nor_unit_nor_direction_matters(seed: int, p: int, offset: float, scale: float) -> None:
    x, v = normal(seed, 40, p), normal(seed, 4, p)
    turn = torch.linalg.qr(normal(seed + 1, p, p)[0]).Q
    options = {"smallest_variance": 1e-30}
    detector, state = learned(x, **options)
    plain = detector.score(state, v)
    detector, state = learned(x @ turn * scale + offset, **options)
    torch.testing.assert_close(
        detector.score(state, v @ turn * scale + offset).distance, plain.distance, rtol=1e-5, atol=1e-7
    )


def test_streams_do_not_touch_each_other() -> None:
    x = torch.cat([normal(seed, 25, 3, seed) for seed in range(5)])
    detector, state = learned(x)
    found = detector.score(state, x)
    for n in range(5):
        _, alone = learned(x[n : n + 1])
        torch.testing.assert_close(detector.score(alone, x[n : n + 1]).distance, found.distance[n : n + 1])


def test_shrinking_brings_few_vectors_nearer_to_the_truth() -> None:
    """What Ledoit & Wolf claim: less expected loss than the sample covariance, here of 12 vectors of 10 features."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(0, 1, (300, 12, 10)) * np.linspace(0.7, 1.3, 10))
    truth = torch.diag(torch.from_numpy(np.linspace(0.7, 1.3, 10) ** 2))
    detector, state = learned(x)
    ours = (detector.covariance(state) - truth).square().sum(dim=(1, 2)).mean()
    sample = (state.scatter / 12 - truth).square().sum(dim=(1, 2)).mean()
    assert float(ours) < 0.3 * float(sample)
    _, many = learned(torch.from_numpy(rng.normal(0, 1, (1, 20000, 10)) * np.linspace(0.7, 1.3, 10)))
    assert float(detector.shrinkage(many)) < 0.02 < 0.5 < float(detector.shrinkage(state).mean())


def test_scores_are_calibrated_and_find_what_each_feature_hides() -> None:
    """Of new vectors, a share of alpha scores below alpha; one normal in each feature but not in both is found."""
    rng = np.random.default_rng(1)
    mix = np.array([[1.0, 0.0], [0.95, math.sqrt(1 - 0.95**2)]])
    detector, state = learned(torch.from_numpy(rng.normal(0, 1, (1, 20000, 2)) @ mix.T))
    new = detector.score(state, torch.from_numpy(rng.normal(0, 1, (1, 20000, 2)) @ mix.T)).p_value
    for alpha in (0.5, 0.1, 0.01):
        assert float((new < alpha).double().mean()) == pytest.approx(alpha, abs=5 * math.sqrt(alpha / 20000))
    hidden, plain = detector.score(state, torch.tensor([[[1.5, -1.5], [1.5, 1.5]]])).p_value[0].tolist()
    assert hidden < 1e-9 and plain > 0.2


@given(st.floats(0, 600))
@quick
def test_the_tail_in_closed_form(x: float) -> None:
    """One degree: erfc(sqrt(x/2)); an even number: exp(-x/2) times the first terms of the series of exp(x/2)."""
    at = torch.tensor(x, dtype=torch.float64)
    assert float(chi_square_tail(at, 1)) == pytest.approx(math.erfc(math.sqrt(x / 2)), rel=1e-9)
    three = math.erfc(math.sqrt(x / 2)) + math.sqrt(2 * x / math.pi) * math.exp(-x / 2)
    assert float(chi_square_tail(at, 3)) == pytest.approx(three, rel=1e-9)
    for degrees in (2, 4, 10, 40):
        series = math.fsum(math.exp(-x / 2) * (x / 2) ** i / math.factorial(i) for i in range(degrees // 2))
        assert float(chi_square_tail(at, degrees)) == pytest.approx(series, rel=1e-9)


def test_the_tail_at_the_ends_and_in_the_tables() -> None:
    """3.841, 18.307 and 124.342 are the upper 5 % points for 1, 10 and 100 degrees."""
    for degrees, point in ((1, 3.841459), (10, 18.307038), (100, 124.342113)):
        assert float(chi_square_tail(torch.tensor(point), degrees)) == pytest.approx(0.05, rel=1e-5)
    assert chi_square_tail(torch.tensor([0.0, 3000.0, 1e120]), 3).tolist() == [1, 0, 0]


def test_copies_and_constants_have_a_covariance() -> None:
    one = normal(3, 50, 1)
    x = torch.cat([one, one, torch.full_like(one, 7.0), one * 1e5], dim=2)
    detector, state = learned(x, loading=1e-9)
    found = detector.score(state, torch.tensor([[[0.0, 0.0, 7.0, 0.0], [0.0, 0.0, 700.0, 0.0]]]))
    assert bool(found.distance.isfinite().all()) and found.distance[0, 1] > found.distance[0, 0]
    detector, state = learned(torch.ones(1, 20, 2))
    found = detector.score(state, torch.tensor([[[1.0, 1.0], [1.0, 1.1]]]))
    assert found.distance[0, 0] == 0 and float(found.p_value[0, 1]) < 1e-12


def test_scoring_waits_until_enough_is_seen_and_changes_nothing() -> None:
    detector = AnomalyDetector(2, minimum=4)
    x = normal(4, 4, 2)
    state = detector.update(detector.initial(1), x[:, :3])
    assert not detector.ready(state)
    early = detector.score(state, x * 100)
    assert not early.distance.any() and bool((early.p_value == 1).all())
    ready = detector.update(state, x[:, 3:])
    before = detector.to_arrays(ready)
    first, second = detector.score(ready, x * 100), detector.score(ready, x * 100)
    assert bool((first.distance > 0).all()) and torch.equal(first.p_value, second.p_value)
    assert all(np.array_equal(x, before[name]) for name, x in detector.to_arrays(ready).items())
    nan = torch.full_like(x, math.nan)
    absent = detector.score(ready, nan, torch.zeros(1, 4, dtype=torch.bool))
    assert not absent.distance.any() and bool((absent.p_value == 1).all())
    assert AnomalyDetector(2).minimum == 10 and AnomalyDetector(20).minimum == 40


@given(SEEDS, FEATURES)
@quick
def test_stored_in_the_middle_it_goes_on_to_the_same_bit(seed: int, p: int) -> None:
    x = torch.cat([normal(seed, 20, p), normal(seed + 1, 20, p, 5.0)])
    detector, half = learned(x[:, :10])
    stored = detector.from_arrays(detector.to_arrays(half))
    for one, other in ((half, stored), (detector.update(half, x[:, 10:]), detector.update(stored, x[:, 10:]))):
        for field in fields(AnomalyState):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert a.dtype == b.dtype and torch.equal(a, b)


def test_what_is_refused() -> None:
    detector = AnomalyDetector(2)
    state = detector.initial(1)
    for call in (detector.update, detector.score):
        for bad in (math.nan, math.inf, -2e60):
            x = torch.tensor([[[0.0, 0.0], [0.0, bad]]], dtype=torch.float64)
            with pytest.raises(
                ValueError, match=r"x\[0, 1, 1\] is .*; write a finite number of magnitude up to 1e\+60"
            ):
                call(state, x)
        with pytest.raises(ValueError, match=r"x has shape \(1, 4, 3\); write \(1, rows, 2\)"):
            call(state, torch.zeros(1, 4, 3))
        with pytest.raises(ValueError, match=r"present has shape \(1, 3\); write \(1, 4\)"):
            call(state, torch.zeros(1, 4, 2), torch.ones(1, 3, dtype=torch.bool))
    for wrong, said in (
        ({"features": 0}, "features is 0"), ({"minimum": 1}, "minimum is 1"), ({"loading": 0.0}, "loading is 0.0"),
        ({"smallest_variance": 0.0}, "smallest_variance is 0.0"), ({"loading": math.nan}, "loading is nan"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            AnomalyDetector(**{"features": 2, **wrong})  # type: ignore[arg-type]


def test_a_stored_state_that_does_not_fit_is_refused() -> None:
    detector, state = learned(normal(6, 20, 2))
    arrays = detector.to_arrays(state)
    for name in ("count", "scatter", "quartic"):
        with pytest.raises(ValueError, match=f"array '{name}' is negative for stream 0"):
            detector.from_arrays({**arrays, name: -arrays[name]})
    with pytest.raises(ValueError, match=r"array 'mean'\[0, 0\] is nan"):
        detector.from_arrays({**arrays, "mean": arrays["mean"] * math.nan})
    with pytest.raises(ValueError, match="array 'mean' is"):
        AnomalyDetector(3).from_arrays(arrays)
