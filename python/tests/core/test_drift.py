"""Change detection: the sums and the windows against plain loops, run lengths against theory, states that survive."""

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

from cognitive_actors.core.drift import (
    CusumDetector,
    CusumParameters,
    CusumState,
    WindowComparison,
    WindowState,
    average_run_length,
)

quick = settings(max_examples=40)
NUMBERS = st.floats(-1e6, 1e6)


def tensor(*x: float) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def same(one: CusumState | WindowState, other: CusumState | WindowState) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)]
    return all(x.dtype == y.dtype and torch.equal(x, y) for x, y in pairs)


def markov_run_length(k: float, h: float, shift: float, states: int = 400) -> float:
    """One-sided average run length by a Markov chain over slices of [0, h] (Brook & Evans 1972)."""
    width = 2 * h / (2 * states - 1)
    centre = np.arange(states) * width
    upper = torch.special.ndtr(torch.from_numpy(centre[None, :] + width / 2 - centre[:, None] + k - shift)).numpy()
    stay = np.diff(upper, axis=1, prepend=0.0)
    return float(np.linalg.solve(np.eye(states) - stay, np.ones(states))[0])


def two_sided(k: float, h: float, shift: float) -> float:
    return 1 / (1 / markov_run_length(k, h, shift) + 1 / markov_run_length(k, h, -shift))


def run_lengths(detector: CusumDetector, streams: int, steps: int, shift: float, seed: int) -> np.ndarray:
    """Steps until the first alarm of each stream, whose mean and deviation are known; all must have one."""
    x = np.random.default_rng(seed).normal(shift, 1, (streams, steps))
    state = detector.known(torch.zeros(streams), torch.ones(streams))
    _, found = detector.scan(state, torch.from_numpy(x))
    assert bool(found.alarm.any(dim=1).all())
    return found.alarm.to(torch.uint8).argmax(dim=1).numpy() + 1


def test_the_sums_by_hand() -> None:
    """Mean 10, deviation 2: z = 1, 2, -1, -3, 0.5 makes upper .5, 2, .5, 0, 0 and lower 0, 0, .5, 3, 2."""
    detector = CusumDetector(CusumParameters(k=0.5, h=2.5))
    state = detector.known(tensor(10.0), tensor(2.0))
    uppers, lowers, runs, alarms = [], [], [], []
    for x in (12.0, 14.0, 8.0, 4.0, 11.0):
        state, found = detector.update(state, tensor(x))
        uppers.append(float(state.upper))
        lowers.append(float(state.lower))
        runs.append((int(state.upper_run), int(state.lower_run)))
        alarms.append((bool(found.rise), bool(found.fall), bool(found.alarm)))
    assert uppers == pytest.approx([0.5, 2, 0.5, 0, 0], abs=1e-12)
    assert lowers == pytest.approx([0, 0, 0.5, 3, 2], abs=1e-12)
    assert runs == [(1, 0), (2, 0), (3, 1), (0, 2), (0, 3)]
    assert alarms == [(False, False, False)] * 3 + [(False, True, True)] + [(False, False, False)]


@given(SEEDS, st.integers(2, 20), st.floats(0, 2), st.floats(0.5, 6))
@quick
def test_the_sums_of_many_streams_equal_a_plain_loop(seed: int, baseline: int, k: float, h: float) -> None:
    rng = np.random.default_rng(seed)
    x, present = rng.normal(3, 2, (4, 40)), rng.random((4, 40)) < 0.8
    detector = CusumDetector(CusumParameters(k=k, h=h, baseline=baseline))
    state, found = detector.scan(detector.initial(4), torch.from_numpy(x), torch.from_numpy(present))
    for n in range(4):
        seen = x[n][present[n]]
        first, rest = seen[:baseline], seen[baseline:]
        assert int(state.count[n]) == len(first)
        assert float(state.mean[n]) == pytest.approx(first.mean(), abs=1e-12)
        if len(first) > 1:
            assert float(detector.deviation(state)[n]) == pytest.approx(first.std(ddof=1), rel=1e-12)
        upper = lower = 0.0
        alarms = [False] * len(first)
        for value in rest:
            z = (value - first.mean()) / first.std(ddof=1)
            upper, lower = max(0.0, upper + z - k), max(0.0, lower - z - k)
            alarms.append(upper > h or lower > h)
        assert (float(state.upper[n]), float(state.lower[n])) == pytest.approx((upper, lower), abs=1e-9)
        assert found.alarm[n][torch.from_numpy(present[n])].tolist() == alarms
        assert int(found.learning[n].sum()) == len(first)


@given(st.lists(NUMBERS, min_size=2, max_size=30), st.floats(-100, 100), st.floats(0.01, 100))
@quick
def test_units_do_not_matter_and_turning_the_sign_swaps_the_sides(x: list[float], offset: float, scale: float) -> None:
    baseline = [0.0, 1.0, 3.0]
    detector = CusumDetector(CusumParameters(baseline=3))
    rows = torch.tensor([baseline + x] * 3, dtype=torch.float64)
    rows[1] = rows[1] * scale + offset
    rows[2] = -rows[2]
    state, found = detector.scan(detector.initial(3), rows)
    torch.testing.assert_close(found.z[1], found.z[0], rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(state.upper[2], state.lower[0], rtol=0, atol=0)
    torch.testing.assert_close(state.lower[2], state.upper[0], rtol=0, atol=0)


@pytest.mark.parametrize(("k", "h", "table"), [(0.5, 4.0, 168.0), (0.5, 5.0, 465.0)])
def test_time_between_false_alarms(k: float, h: float, table: float) -> None:
    """Montgomery's table 9.3, the approximation, a Markov chain and simulated streams say the same."""
    assert two_sided(k, h, 0.0) == pytest.approx(table, rel=0.01)
    assert average_run_length(k, h) == pytest.approx(table, rel=0.02)
    if h == 4:
        lengths = run_lengths(CusumDetector(CusumParameters(k=k, h=h)), 1500, 2500, 0.0, 1)
        assert lengths.mean() == pytest.approx(table, abs=4 * lengths.std() / math.sqrt(len(lengths)))
        assert lengths.std() / math.sqrt(len(lengths)) < 5


@pytest.mark.parametrize("shift", [1.0, -1.0, 2.0])
def test_a_shift_is_found_as_fast_as_theory_says(shift: float) -> None:
    lengths = run_lengths(CusumDetector(), 2000, 200, shift, 2)
    # Table 9.3 for h = 5: a shift of one is found after 10.4 observations, of two after 4.01.
    table = {1.0: 10.4, 2.0: 4.01}[abs(shift)]
    assert lengths.mean() == pytest.approx(table, abs=4 * lengths.std() / math.sqrt(len(lengths)) + 0.01)
    assert two_sided(0.5, 5.0, shift) == pytest.approx(table, rel=0.01)
    assert average_run_length(0.5, 5.0, shift) == pytest.approx(table, rel=0.05)


@given(st.floats(0.1, 1), st.floats(2, 5), st.floats(-1.5, 1.5))
@settings(max_examples=15)
def test_the_approximate_run_length_is_near_the_exact_one(k: float, h: float, shift: float) -> None:
    assert average_run_length(k, h, shift) == pytest.approx(two_sided(k, h, shift), rel=0.1)


def test_run_lengths_at_the_ends() -> None:
    """No drift in one direction is the limit of little drift, and what overflows is infinite."""
    b = 4 + 1.166
    near = [average_run_length(0.5, 4, 0.5 + d) for d in (-2e-6, 0.0, 2e-6)]
    assert near[0] > near[1] > near[2] and near[0] == pytest.approx(near[2], rel=1e-4)
    assert near[1] == pytest.approx(b * b, rel=0.01) and average_run_length(50, 50) == math.inf


def test_a_learned_baseline_finds_the_shift_and_dates_it() -> None:
    """200 streams, 100 observations to learn, 50 quiet ones, then a shift by one deviation."""
    rng = np.random.default_rng(3)
    x = rng.normal(20, 4, (200, 200))
    x[:, 150:] += 4
    detector = CusumDetector()
    before, quiet = detector.scan(detector.initial(200), torch.from_numpy(x[:, :150]))
    after, found = detector.scan(before, torch.from_numpy(x[:, 150:]))
    assert int(quiet.alarm.any(dim=1).sum()) < 50
    assert int(found.rise.any(dim=1).sum()) > 195 and int(found.fall.any(dim=1).sum()) < 20
    assert torch.equal(before.mean, after.mean) and torch.equal(before.squares, after.squares)
    onset = 50 - after.upper_run
    assert abs(float(onset.double().median())) <= 5


def test_a_constant_stream_has_a_scale() -> None:
    detector = CusumDetector(CusumParameters(baseline=5, smallest_deviation=0.01))
    state, found = detector.scan(detector.initial(1), torch.full((1, 50), 0.1, dtype=torch.float64))
    assert float(detector.deviation(state)) == 0.01 and not found.alarm.any() and not found.z.any()
    _, found = detector.update(state, tensor(0.2))
    assert float(found.z) == pytest.approx(10, rel=1e-12) and bool(found.rise)


@given(SEEDS, st.integers(0, 30))
@quick
def test_stored_in_the_middle_it_goes_on_to_the_same_bit(seed: int, cut: int) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (3, 30)))
    detector, windows = CusumDetector(CusumParameters(baseline=8)), WindowComparison(6, 4)
    whole, _ = detector.scan(detector.initial(3), x)
    half, _ = detector.scan(detector.initial(3), x[:, :cut])
    half = detector.from_arrays(detector.to_arrays(half))
    assert same(detector.scan(half, x[:, cut:])[0], whole)
    one = other = windows.initial(3)
    for t in range(30):
        if t == cut:
            other = windows.from_arrays(windows.to_arrays(other))
        one, other = windows.update(one, x[:, t]), windows.update(other, x[:, t])
    assert same(one, other)


def test_restart_keeps_the_baseline_and_reset_forgets_it() -> None:
    x = torch.from_numpy(np.random.default_rng(5).normal(0, 1, (3, 60))) + torch.arange(60) * 0.2
    detector = CusumDetector(CusumParameters(baseline=10))
    state, found = detector.scan(detector.initial(3), x)
    assert found.alarm[:, -1].all()
    restarted = detector.restart(state, torch.tensor([True, False, False]))
    assert restarted.upper.tolist() == [0, *state.upper[1:].tolist()] and int(restarted.upper_run[0]) == 0
    assert torch.equal(restarted.mean, state.mean) and torch.equal(restarted.count, state.count)
    forgotten = detector.reset(state, torch.tensor([1]))
    alone = detector.scan(detector.initial(1), x[1:2])[0]
    again = detector.scan(forgotten, x)[0]
    assert torch.equal(again.mean[1:2], alone.mean) and torch.equal(again.upper[1:2], alone.upper)
    assert again.mean[0] == state.mean[0] and int(forgotten.count[2]) == 10


@given(SEEDS, st.integers(2, 6), st.integers(2, 5), st.integers(0, 25))
@quick
def test_windows_hold_the_first_and_the_last(seed: int, reference: int, recent: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    x, present = rng.normal(0, 1, (3, steps)), rng.random((3, steps)) < 0.7
    windows = WindowComparison(reference, recent)
    state = windows.initial(3)
    for t in range(steps):
        state = windows.update(state, torch.from_numpy(x[:, t]), torch.from_numpy(present[:, t]))
    found = windows.compare(state)
    for n in range(3):
        seen = x[n][present[n]].tolist()
        assert int(state.count[n]) == len(seen)
        assert state.reference[n].tolist()[: len(seen)] == seen[:reference]
        if len(seen) < reference + recent:
            assert not windows.ready(state)[n]
            assert [float(x[n]) for x in (found.difference, found.ks, found.p_value)] == [0, 0, 1]
        else:
            assert windows.ready(state)[n] and sorted(state.recent[n].tolist()) == sorted(seen[-recent:])
            a, b = np.array(seen[:reference]), np.array(seen[-recent:])
            pooled = ((reference - 1) * a.var(ddof=1) + (recent - 1) * b.var(ddof=1)) / (reference + recent - 2)
            assert float(found.difference[n]) == pytest.approx((b.mean() - a.mean()) / math.sqrt(pooled), rel=1e-9)


def test_windows_start_again() -> None:
    windows = WindowComparison(2, 2)
    state = windows.initial(2)
    for x in (1.0, 2.0, 3.0, 4.0):
        state = windows.update(state, tensor(x, x))
    state = windows.reset(state, torch.tensor([False, True]))
    assert windows.ready(state).tolist() == [True, False] and state.count.tolist() == [4, 0]
    assert windows.update(state, tensor(5.0, 5.0)).reference.tolist() == [[1, 2], [5, 0]]


def test_what_is_refused() -> None:
    detector, windows = CusumDetector(), WindowComparison()
    state, window = detector.initial(2), windows.initial(2)
    for bad, said in ((math.nan, "nan"), (-math.inf, "-inf"), (2e150, r"2e\+150")):
        for call in (lambda x: detector.update(state, x), lambda x: windows.update(window, x)):
            with pytest.raises(
                ValueError, match=rf"x\[1\] is {said}; write a finite number of magnitude up to 1e\+150"
            ):
                call(tensor(0.0, bad))
        skipped, _ = detector.update(state, tensor(0.0, bad), torch.tensor([True, False]))
        assert skipped.count.tolist() == [1, 0] and skipped.mean.tolist() == [0, 0]
    with pytest.raises(ValueError, match=r"x has shape \(3,\); write \(2,\)"):
        detector.update(state, torch.zeros(3))
    with pytest.raises(ValueError, match=r"present has shape \(1,\); write \(2,\)"):
        windows.update(window, torch.zeros(2), torch.tensor([True]))
    with pytest.raises(ValueError, match=r"x has shape \(2,\); write \(2, steps\)"):
        detector.scan(state, torch.zeros(2))
    with pytest.raises(ValueError, match=r"deviation\[0\] is -1.0; write 0 or more"):
        detector.known(tensor(0.0), tensor(-1.0))
    with pytest.raises(ValueError, match=r"mean\[0\] is nan"):
        detector.known(tensor(math.nan), tensor(1.0))
    for name, value in (("k", -1.0), ("h", 0.0), ("baseline", 1), ("smallest_deviation", 0.0), ("k", math.nan)):
        with pytest.raises(ValueError, match=f"{name} is {value}; write"):
            CusumParameters(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="recent is 1; write a whole number"):
        WindowComparison(5, 1)


def test_a_stored_state_that_does_not_fit_is_refused() -> None:
    detector, windows = CusumDetector(), WindowComparison(3, 2)
    arrays = detector.to_arrays(detector.initial(2))
    for name in ("squares", "upper", "upper_run", "count"):
        broken = {**arrays, name: arrays[name] - 1}
        with pytest.raises(ValueError, match=rf"array '{name}'\[0\] is -1.*; write 0 or more"):
            detector.from_arrays(broken)
    with pytest.raises(ValueError, match=r"array 'mean'\[0\] is nan"):
        detector.from_arrays({**arrays, "mean": arrays["mean"] * math.nan})
    with pytest.raises(ValueError, match="array 'recent' is"):
        windows.from_arrays(WindowComparison(3, 4).to_arrays(WindowComparison(3, 4).initial(1)))


def test_a_scan_of_nothing_changes_nothing() -> None:
    detector = CusumDetector()
    state = detector.initial(2)
    after, found = detector.scan(state, torch.zeros(2, 0))
    assert same(state, after) and found.alarm.shape == found.z.shape == (2, 0)
