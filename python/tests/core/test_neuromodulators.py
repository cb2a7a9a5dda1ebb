"""The neuromodulators against their closed forms, figures, invariants, and a reference that looks at every moment."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cognitive_actors.core import batched
from cognitive_actors.core.neuromodulators import (
    MODULATORS,
    OPPONENT_PROCESS,
    ModulatorParameters,
    ModulatorState,
    Neuromodulators,
    ThresholdRule,
    impulse_vector,
)

EXACT = 1e-12
tensor = partial(torch.tensor, dtype=torch.float64)
UNCOUPLED = replace(OPPONENT_PROCESS, coupling=((0.0,) * 5,) * 5, rules=())
RULES = (
    ThresholdRule("dopamine", 0.8, "norepinephrine", 0.1),
    ThresholdRule("dopamine", 0.42, "serotonin", -0.05, direction="down"),
    ThresholdRule("norepinephrine", 0.55, "cortisol", 0.15),
    ThresholdRule("cortisol", 0.35, "dopamine", -0.1, hysteresis=0.01),
    ThresholdRule("serotonin", 0.45, "oxytocin", 0.2, direction="down", hysteresis=0.02),
)
RULED = replace(OPPONENT_PROCESS, rules=RULES)

amounts = st.lists(st.floats(-0.6, 0.6), min_size=5, max_size=5).map(tensor)
quick = settings(max_examples=25)


def dopamine(**changes: float) -> Neuromodulators:
    """Uncoupled modulators with the given parameters of dopamine (others stay as they are)."""
    parameters = {name: (value, *getattr(UNCOUPLED, name)[1:]) for name, value in changes.items()}
    return Neuromodulators(replace(UNCOUPLED, **parameters))  # type: ignore[arg-type]


def curve(modulators: Neuromodulators, state: ModulatorState, times: Tensor, source: str = "dopamine") -> Tensor:
    """The unclipped deviation of one modulator of a lone agent from baseline, at each of these times."""
    copies = batched.take(state, torch.zeros(len(times), dtype=torch.int64))
    later = modulators.advance(copies, times)
    return (later.primary - later.opponent)[:, MODULATORS.index(source)]


def assert_close(x: Tensor, y: Tensor, tolerance: float = EXACT, name: str = "values") -> None:
    torch.testing.assert_close(x, y, rtol=0.0, atol=tolerance, msg=lambda text: f"{name}: {text}")


def assert_same(first: ModulatorState, second: ModulatorState, tolerance: float = EXACT) -> None:
    for (name, x), (_, y) in zip(batched.leaves(first), batched.leaves(second), strict=True):
        assert_close(x, y, tolerance, name)


# One impulse, no coupling: the closed forms of Solomon and Corbit's process.


@pytest.mark.parametrize(
    ("kappa", "crossing", "lowest", "depth"),
    [(0.4, 4.324, 7.227, 0.0294), (0.8, 3.231, 6.134, 0.0684), (1.2, 2.644, 5.547, 0.1112)],
)
def test_one_impulse_rises_falls_and_rebounds(kappa: float, crossing: float, lowest: float, depth: float) -> None:
    h, p = 2.0, 0.25
    fast, slow = math.log(2) / h, math.log(2) / (5 * h)
    r = kappa * slow / (fast - slow)
    t0 = math.log((1 + r) / r) / (fast - slow)
    trough = math.log(fast * (1 + r) / (slow * r)) / (fast - slow)
    assert (t0 / h, trough / h) == pytest.approx((crossing, lowest), abs=5e-4)

    modulators = dopamine(opponent_gain=kappa, gain_max=1.2, gain_rate=0.0)
    state = modulators.impulse(modulators.initial(1), impulse_vector({"dopamine": p}))
    times = torch.cat((torch.linspace(0, 60, 601, dtype=torch.float64), tensor([t0, trough])))
    y = curve(modulators, state, times)
    closed_form = p * (torch.exp(-fast * times) - r * (torch.exp(-slow * times) - torch.exp(-fast * times)))
    assert_close(y, closed_form)
    assert float(y[-2]) == pytest.approx(0, abs=1e-12)
    assert float(y[-1]) == float(y.min()) == pytest.approx(-depth * p, abs=5e-5)


@given(kappa=st.floats(0, 1.2), p=st.floats(-0.5, 0.5))
@quick
def test_net_area_of_an_impulse_is_what_the_opponent_leaves(kappa: float, p: float) -> None:
    modulators = dopamine(opponent_gain=kappa, gain_max=2.0, gain_rate=0.0)
    state = modulators.impulse(modulators.initial(1), impulse_vector({"dopamine": p}))
    times = torch.linspace(0, 400, 4001, dtype=torch.float64)
    y = curve(modulators, state, times)
    simpson = (y[0] + 4 * y[1:-1:2].sum() + 2 * y[2:-1:2].sum() + y[-1]) * 0.1 / 3
    assert float(simpson) == pytest.approx(p * (1 - kappa) / (math.log(2) / 2), abs=1e-6)


def test_constant_input_peaks_adapts_to_a_plateau_and_leaves_an_after_reaction() -> None:
    modulators, half_life = Neuromodulators(UNCOUPLED), 2.0
    held = modulators.hold(modulators.initial(1), impulse_vector({"dopamine": 0.4}))
    times = torch.arange(1, 241, dtype=torch.float64) / 4
    during = 0.5 + curve(modulators, held, times)
    assert float(during.max()) == pytest.approx(0.828, abs=5e-4)
    # The response to a constant input is the integral of that to an impulse, so it peaks where the latter crosses zero.
    assert float(times[during.argmax()]) == pytest.approx(4.324 * half_life, abs=0.125)
    plateau = 0.5 + curve(modulators, held, tensor([1e4]))
    assert float(plateau) == pytest.approx(0.740, abs=1e-12), "b + u (1 - kappa)"

    used = modulators.impulse(modulators.initial(1), impulse_vector({"dopamine": 0.3}))
    plateau = 0.5 + curve(modulators, modulators.hold(used, impulse_vector({"dopamine": 0.4})), tensor([1e4]))
    assert float(plateau) == pytest.approx(0.5 + 0.4 * (1 - float(used.gain[0, 0])), abs=1e-12)

    released = modulators.hold(modulators.advance(held, 60.0), torch.zeros(5))
    after = 0.5 + curve(modulators, released, times)
    assert float(after.min()) == pytest.approx(0.414, abs=5e-4)
    assert float(times[after.argmin()]) == 8.75


def test_repetition_habituates_the_peak_and_deepens_the_after_reaction() -> None:
    modulators = Neuromodulators(UNCOUPLED)
    state, kick, looks = modulators.initial(1), impulse_vector({"dopamine": 0.3}), torch.arange(41).double() / 4
    peaks, troughs, gains = [], [], []
    for _ in range(40):
        state = modulators.impulse(state, kick)
        y = 0.5 + curve(modulators, state, looks)
        peaks.append(float(y.max()))
        troughs.append(float(y.min()))
        gains.append(float(state.gain[0, 0]))
        state = modulators.advance(state, 10.0)
    assert peaks == sorted(peaks, reverse=True)
    assert troughs == sorted(troughs, reverse=True)
    assert [peaks[i] for i in (0, 4, 19, 39)] == pytest.approx([0.8, 0.7773, 0.7519, 0.7400], abs=5e-5)
    assert [troughs[i] for i in (0, 4, 19, 39)] == pytest.approx([0.4953, 0.4743, 0.4509, 0.4394], abs=5e-5)
    assert gains == sorted(gains)
    assert (gains[0], float(state.gain[0, 0])) == pytest.approx((0.44, 0.97), abs=5e-3)


# Time


@given(
    events=st.lists(st.tuples(amounts, st.floats(0, 30), st.integers(1, 5)), min_size=1, max_size=4),
    u=amounts,
    start=st.floats(0, 100),
)
@quick
def test_any_division_of_time_gives_the_same_state(
    events: list[tuple[Tensor, float, int]], u: Tensor, start: float
) -> None:
    modulators = Neuromodulators(RULED)
    whole = parts = modulators.hold(modulators.initial(1, time=start), u / 3)
    for amount, seconds, divisions in events:
        whole = modulators.advance(modulators.impulse(whole, amount), seconds)
        parts = modulators.impulse(parts, amount)
        for _ in range(divisions):
            parts = modulators.advance(parts, seconds / divisions)
    assert_same(whole, parts)


@pytest.mark.parametrize("step", [0.01, 0.05, 0.25, 1.0, 7.5])
def test_one_minute_is_one_minute_in_steps_of_any_length(step: float) -> None:
    modulators = Neuromodulators(OPPONENT_PROCESS)
    start = modulators.impulse(modulators.initial(1), tensor([0.4, -0.2, 0.1, 0.3, 0.2]))
    state = start
    for _ in range(round(60 / step)):
        state = modulators.advance(state, step)
    # The clock itself is a float64 to which the steps are added.
    assert float(state.time) == pytest.approx(60.0, abs=1e-10)
    assert_same(replace(state, time=tensor([60.0])), modulators.advance(start, 60.0))


def test_time_scale_makes_everything_faster_by_one_factor() -> None:
    slow, fast = Neuromodulators(RULED), Neuromodulators(replace(RULED, time_scale=50.0))
    amount = tensor([0.45, -0.2, 0.1, 0.1, 0.2])
    first = slow.advance(slow.impulse(slow.initial(1), amount), 100.0)
    second = fast.advance(fast.impulse(fast.initial(1), amount), 2.0)
    assert_same(first, replace(second, time=first.time))


@given(amount=amounts)
@quick
def test_levels_return_to_baseline(amount: Tensor) -> None:
    modulators = Neuromodulators(OPPONENT_PROCESS)
    state = modulators.advance(modulators.impulse(modulators.initial(1), amount), 40 * 5 * 4590.0)
    assert_close(modulators.levels(state)[0], modulators.baseline())


# Invariants


@given(steps=st.lists(st.tuples(amounts, st.floats(0, 5)), max_size=12))
@quick
def test_levels_and_gains_stay_in_their_bounds(steps: list[tuple[Tensor, float]]) -> None:
    modulators = Neuromodulators(replace(RULED, gain_rate=(3.0,) * 5))
    state = modulators.initial(1)
    for amount, seconds in steps:
        state = modulators.advance(modulators.impulse(state, 3 * amount), seconds)
        levels = modulators.levels(state)
        assert ((levels >= 0) & (levels <= 1)).all()
        low, high = tensor(RULED.opponent_gain), tensor(RULED.gain_max)
        assert ((state.gain >= low - 1e-12) & (state.gain <= high + 1e-12)).all()


@pytest.mark.parametrize("source", range(5))
def test_without_coupling_nobody_moves_anybody(source: int) -> None:
    modulators = Neuromodulators(UNCOUPLED)
    state = modulators.impulse(modulators.initial(1), 0.3 * torch.eye(5)[source])
    moved = modulators.levels(modulators.advance(state, 3.0))[0] != modulators.baseline()
    assert moved.nonzero().flatten().tolist() == [source]


def test_oxytocin_buffers_the_cortisol_response() -> None:
    modulators = Neuromodulators(OPPONENT_PROCESS)
    stress = modulators.initial(1)
    stress = modulators.impulse(stress, impulse_vector({"cortisol": 0.3}))
    comforted = modulators.impulse(stress, impulse_vector({"oxytocin": 0.4}))
    alone, together = (modulators.levels(modulators.advance(s, 600.0))[0, 3] for s in (stress, comforted))
    assert together < alone


@given(data=st.data())
@quick
def test_a_batch_equals_a_loop(data: st.DataObject) -> None:
    modulators, n = Neuromodulators(RULED), 6
    amount = torch.stack(data.draw(st.lists(amounts, min_size=n, max_size=n)))
    seconds, clocks = (tensor(data.draw(st.lists(st.floats(0, 20), min_size=n, max_size=n))) for _ in range(2))
    held = modulators.hold(modulators.initial(n, time=clocks), amount.flip(1) / 4)
    together = modulators.advance(modulators.impulse(held, amount), seconds)
    for i in range(n):
        alone = modulators.hold(modulators.initial(1, time=float(clocks[i])), amount[i].flip(0) / 4)
        alone = modulators.advance(modulators.impulse(alone, amount[i]), float(seconds[i]))
        assert_same(batched.take(together, torch.tensor([i])), alone)


@given(values=st.lists(st.floats(0, 0.5), min_size=4, max_size=4))
@quick
def test_simultaneous_impulses_commute(values: list[float]) -> None:
    a, b, c, d = values
    impulses = [impulse_vector(x) for x in ({"dopamine": a}, {"cortisol": -b}, {"dopamine": c}, {"oxytocin": d})]
    modulators, results = Neuromodulators(replace(RULED, rules=())), []
    for order in permutations(impulses):
        state = modulators.initial(1)
        for amount in order:
            state = modulators.impulse(state, amount)
        results.append(state)
    for state in results[1:]:
        assert_same(results[0], state)


def test_the_order_of_rules_does_not_matter() -> None:
    rules = (
        ThresholdRule("dopamine", 0.7, "norepinephrine", 0.3),
        ThresholdRule("norepinephrine", 0.6, "dopamine", -0.3),
        ThresholdRule("dopamine", 0.8, "norepinephrine", -0.2),
    )
    states = []
    for order in permutations(range(3)):
        modulators = Neuromodulators(replace(OPPONENT_PROCESS, rules=tuple(rules[i] for i in order)))
        state = modulators.impulse(modulators.initial(1), impulse_vector({"dopamine": 0.4, "norepinephrine": 0.3}))
        state = modulators.advance(state, 5.0)
        states.append(replace(state, armed=state.armed[:, [order.index(i) for i in range(3)]]))
    for state in states[1:]:
        assert_same(states[0], state)


def test_a_stored_state_is_restored_to_the_bit() -> None:
    modulators = Neuromodulators(RULED)
    state = modulators.hold(modulators.initial(3, time=1.5), impulse_vector({"serotonin": 0.1}))
    state = modulators.advance(modulators.impulse(state, tensor([0.4, 0.1, -0.3, 0.2, 0.2])), 0.7)
    arrays = modulators.to_arrays(state)
    assert_same(modulators.from_arrays(arrays), state, tolerance=0.0)
    del arrays["gain"]
    with pytest.raises(ValueError, match="gain"):
        modulators.from_arrays(arrays)


# Threshold rules


def firings(step: float, *, u: float = 0.0, kick: float = 0.4) -> float:
    """How often norepinephrine, which here never decays noticeably, was raised by dopamine passing 0.8."""
    parameters = replace(UNCOUPLED, half_life=(2.0, 120.0, 192.0, 4590.0, 1e12), rules=OPPONENT_PROCESS.rules)
    modulators = Neuromodulators(parameters)
    state = modulators.initial(1)
    for _ in range(2):
        state = modulators.hold(modulators.impulse(state, impulse_vector({"dopamine": kick})), tensor([u, 0, 0, 0, 0]))
        for _ in range(round(15 / step)):
            state = modulators.advance(state, step)
        state = modulators.hold(state, torch.zeros(5))
        for _ in range(round(15 / step)):
            state = modulators.advance(state, step)
    return float(modulators.levels(state)[0, 4] - 0.4) / 0.1


@pytest.mark.parametrize("step", [0.1, 0.3, 1.0, 7.5, 15.0])
def test_a_rule_fires_once_per_crossing_however_time_is_divided(step: float) -> None:
    assert firings(step) == pytest.approx(2, abs=1e-6)
    assert firings(step, kick=0.29) == pytest.approx(0, abs=1e-6)
    assert firings(step, kick=0.0, u=0.55) == pytest.approx(2, abs=1e-6), "crossed under a constant input"


def every_look(parameters: ModulatorParameters, amount: Tensor, u: Tensor, looks: int) -> tuple[Tensor, Tensor]:
    """One agent, scalar and slow: levels (unclipped) and armed after this many rule periods, looking at each."""
    b, k0, k1, eta = (
        tensor(x) for x in (parameters.baseline, parameters.opponent_gain, parameters.gain_max, parameters.gain_rate)
    )
    a, c, o, kappa = tensor([0] * 5), tensor([0] * 5), tensor([0] * 5), k0.clone()
    armed = [True] * len(parameters.rules)
    frozen = kappa.clone()
    rates, fading = torch.tensor(parameters.rates), torch.exp(-torch.tensor(parameters.gain_rates) * 0.25)
    system = torch.zeros(16, 16, dtype=torch.float64)
    system[:15, :15] = torch.tensor(parameters.generator())
    system[:10, 15] = torch.cat((rates * u, frozen * rates * u))
    flow = torch.matrix_exp(0.25 * system)

    def add(p: Tensor) -> None:
        nonlocal a, c, kappa
        a, c, kappa = a + p, c + kappa * p, kappa + eta * p.abs() * (k1 - kappa)

    def look() -> None:
        sent = tensor([0] * 5)
        for i, rule in enumerate(parameters.rules):
            x = float((b + a - o)[MODULATORS.index(rule.source)])
            beyond = x - rule.threshold if rule.direction == "up" else rule.threshold - x
            if armed[i] and beyond > 0:
                armed[i] = False
                sent[MODULATORS.index(rule.target)] += rule.impulse
            elif beyond < -rule.hysteresis:
                armed[i] = True
        add(sent)

    add(amount)
    look()
    for _ in range(looks):
        a, c, o = (flow @ torch.cat((a, c, o, tensor([1]))))[:15].view(3, 5)
        kappa = k0 + (kappa - k0) * fading
        look()
    return b + a - o, torch.tensor(armed)


@given(amount=amounts, u=amounts)
@settings(max_examples=15)
def test_skipping_looks_never_misses_a_crossing(amount: Tensor, u: Tensor) -> None:
    modulators = Neuromodulators(RULED)
    amount = amount + 1e-6  # an impulse of exactly zero is no event
    state = modulators.impulse(modulators.hold(modulators.initial(1), u / 2), amount)
    state = modulators.advance(state, 400 * 0.25)
    levels, armed = every_look(RULED, amount, u / 2, 400)
    assert_close((modulators.baseline() + state.primary - state.opponent)[0], levels)
    assert state.armed[0].tolist() == armed.tolist()


@pytest.mark.parametrize("source", ["dopamine", "cortisol"])
@pytest.mark.parametrize("part", ["primary", "drive", "opponent"])
@pytest.mark.parametrize("origin", MODULATORS)
def test_a_rule_sees_every_peak_that_reaches_it_and_no_other(source: str, part: str, origin: str) -> None:
    """A lone deviation, where the bound on what may follow is as tight as it gets."""
    free = Neuromodulators(replace(OPPONENT_PROCESS, rules=()))
    times = torch.cat((tensor([0.25]), torch.logspace(-0.6, 5.5, 2000, dtype=torch.float64)))
    for amount in (0.2, -0.2):
        deviation = {part: impulse_vector({origin: amount})[None]}
        peak = float(curve(free, replace(free.initial(1), **deviation), times, source).max())
        if peak < 0.005:
            continue
        b = OPPONENT_PROCESS.baseline[MODULATORS.index(source)]
        rules = [ThresholdRule(source, b + share * peak, "oxytocin", 0.0, hysteresis=0.2) for share in (0.95, 1.05)]
        modulators = Neuromodulators(replace(OPPONENT_PROCESS, rules=tuple(rules)))
        state = modulators.advance(replace(modulators.initial(1), **deviation), 3e5)
        assert state.armed.tolist() == [[False, True]]


def test_what_a_rule_sends_may_pass_another_threshold_at_the_next_look() -> None:
    modulators = Neuromodulators(RULED)
    state = modulators.impulse(modulators.initial(1), impulse_vector({"dopamine": 0.4, "norepinephrine": 0.08}))
    assert state.armed[0].tolist() == [False, True, True, True, True]
    assert modulators.advance(state, 0.2).armed[0, 2]
    assert not modulators.advance(state, 0.3).armed[0, 2]


def test_a_clock_that_rounding_left_just_before_a_look_has_reached_it() -> None:
    assert sum([0.1] * 10) < 1.0
    modulators = Neuromodulators(replace(UNCOUPLED, rules=RULES[:1]))
    whole = parts = modulators.hold(modulators.initial(1), impulse_vector({"dopamine": 1.15}))
    assert modulators.advance(whole, 0.75).armed.all(), "passes the threshold in the quarter second before 1 s"
    whole = modulators.advance(whole, 1.0)
    for _ in range(10):
        parts = modulators.advance(parts, 0.1)
    back = impulse_vector({"dopamine": -0.4})
    whole, parts = (modulators.advance(modulators.impulse(x, back), 0.1) for x in (whole, parts))
    assert float(whole.primary[0, 4]) > 0.09, "norepinephrine was raised"
    assert_same(whole, parts)
