"""Routing by surprise: the limits, the bands that hold a stream where it is, and what may never depend on what."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cognitive_actors.core.routing import ROUTES, UNROUTED, Router, RoutingParameters, RoutingState

quick = settings(max_examples=60)
SHARES = st.floats(0, 0.999)
ROUTE = st.integers(UNROUTED, len(ROUTES) - 1)


def nats(*shares: float) -> Tensor:
    """The surprise with these shares of full surprise, at kappa 1."""
    return torch.tensor([-math.log1p(-b) for b in shares], dtype=torch.float64)


def state(*routes: int) -> RoutingState:
    return RoutingState(torch.tensor(routes))


def expected(before: int, b: float) -> int:
    """The rules in words: who may go where, one after the other."""
    if before == 0 and b < 0.38:
        return 0
    if before == 2 and b >= 0.57:
        return 2
    if b < 0.35:
        return 0
    return 1 if b < 0.6 else 2


@pytest.mark.parametrize(
    ("before", "share", "route"),
    [
        (UNROUTED, 0.349, "fast"), (UNROUTED, 0.351, "planned"), (UNROUTED, 0.599, "planned"),
        (UNROUTED, 0.601, "escalated"), (0, 0.379, "fast"), (0, 0.381, "planned"), (0, 0.599, "planned"),
        (0, 0.601, "escalated"), (1, 0.349, "fast"), (1, 0.351, "planned"), (1, 0.599, "planned"),
        (1, 0.601, "escalated"), (2, 0.571, "escalated"), (2, 0.569, "planned"), (2, 0.351, "planned"),
        (2, 0.349, "fast"),
    ],
)  # fmt: skip
def test_the_limits(before: int, share: float, route: str) -> None:
    routing = Router().route(state(before), nats(share))
    assert ROUTES[int(routing.route)] == route
    assert float(routing.share) == pytest.approx(share, abs=1e-15)
    assert bool(routing.changed) == (before == UNROUTED or ROUTES[before] != route)


def test_a_share_at_a_limit_is_not_below_it() -> None:
    """To the last bit: limits in single precision would move all four."""
    surprise = torch.tensor([0.3, 0.5, 0.8, 0.9], dtype=torch.float64)
    p = RoutingParameters(*Router().share(surprise).tolist())
    router = Router(p)
    at = [(1, p.fast_below), (0, p.fast_until), (2, p.escalated_until), (1, p.escalated_from)]
    assert router.route(state(*(r for r, _ in at)), surprise).route.tolist() == [1, 1, 2, 2]
    below = torch.from_numpy(np.nextafter(surprise.numpy(), 0) - 1e-16)
    assert bool((router.share(below) < router.share(surprise)).all())
    assert router.route(state(*(r for r, _ in at)), below).route.tolist() == [0, 0, 1, 1]


def test_the_share_of_surprise() -> None:
    """By hand: one nat is 1 - 1/e, as in the workspace; a limit of .6 is ln 2.5 nats."""
    given_ = torch.tensor([0.0, -0.5, 1.0, math.log(2.5), math.inf], dtype=torch.float64)
    share = Router().share(given_)
    torch.testing.assert_close(share, torch.tensor([0.0, 0.0, 1 - math.exp(-1), 0.6, 1.0], dtype=torch.float64))
    wider = Router(RoutingParameters(kappa=2.0)).share(given_[2:3])
    assert float(wider) == pytest.approx(1 - math.exp(-0.5), abs=1e-15)
    assert float(Router().share(torch.tensor(1e-12))) == pytest.approx(1e-12, rel=1e-6)


@given(st.lists(st.tuples(ROUTE, SHARES), min_size=1, max_size=20))
@quick
def test_a_batch_follows_the_rules_one_by_one(streams: list[tuple[int, float]]) -> None:
    before, shares = zip(*streams, strict=True)
    routing = Router().route(state(*before), nats(*shares))
    rounded = routing.share.tolist()
    assert routing.route.tolist() == [expected(r, b) for r, b in zip(before, rounded, strict=True)]


@given(ROUTE, SHARES, SHARES)
@quick
def test_more_surprise_never_means_less_effort(before: int, one: float, other: float) -> None:
    low, high = sorted([one, other])
    first, second = Router().route(state(before, before), nats(low, high)).route.tolist()
    assert first <= second


@given(SHARES, st.integers(0, 2), st.integers(0, 2))
@quick
def test_a_stream_on_more_effort_stays_on_no_less(share: float, one: int, other: int) -> None:
    low, high = sorted([one, other])
    first, second = Router().route(state(low, high), nats(share, share)).route.tolist()
    assert first <= second


@given(st.sampled_from([(0.35, 0.3799), (0.5701, 0.5999)]), st.lists(st.floats(0, 1), min_size=2, max_size=30), ROUTE)
@quick
def test_no_chattering_inside_a_band(band: tuple[float, float], places: list[float], before: int) -> None:
    """However a share moves within a band, it changes the route of a stream at most on entering."""
    low, high = band
    now, changes = state(before), []
    for place in places:
        routing = Router().route(now, nats(low + 1e-9 + place * (high - low - 2e-9)))
        now = routing.state
        changes.append(bool(routing.changed))
    assert not any(changes[1:])


@given(st.lists(SHARES, min_size=2, max_size=60))
@quick
def test_each_change_back_costs_the_width_of_a_band(shares: list[float]) -> None:
    """Between a change and its reversal the share moves by at least .03: noise smaller than that cannot flip it."""
    now = state(UNROUTED)
    moves: list[tuple[int, int, float]] = []
    for share in shares:
        routing = Router().route(now, nats(share))
        if bool(routing.changed):
            moves.append((int(now.route), int(routing.route), float(routing.share)))
        now = routing.state
    for (a, b, x), (c, d, y) in itertools.pairwise(moves):
        if a != UNROUTED and (d - c) * (b - a) < 0:
            assert abs(x - y) > 0.03 - 1e-12


def test_a_stream_without_news_stays_and_is_not_read() -> None:
    surprise = torch.tensor([math.nan, 5.0, 0.0], dtype=torch.float64)
    routing = Router().route(state(2, 0, UNROUTED), surprise, torch.tensor([False, True, False]))
    assert routing.route.tolist() == [2, 2, UNROUTED]
    assert routing.changed.tolist() == [False, True, False] and routing.share[[0, 2]].tolist() == [0, 0]


def test_what_is_refused() -> None:
    router = Router()
    with pytest.raises(ValueError, match=r"surprise\[1\] is NaN; write nats of 0 or more"):
        router.route(state(0, 0), torch.tensor([0.0, math.nan]))
    with pytest.raises(ValueError, match=r"surprise has shape \(3,\); write \(2,\), one per stream"):
        router.route(state(0, 0), torch.zeros(3))
    with pytest.raises(ValueError, match=r"present has shape \(1,\); write \(2,\)"):
        router.route(state(0, 0), torch.zeros(2), torch.tensor([True]))
    for wrong, said in (
        ({"fast_below": 0.0}, "fast_below is 0.0; write a share"),
        ({"escalated_from": math.nan}, "escalated_from is nan"),
        ({"fast_until": 0.3}, "fast_below is 0.35 and fast_until is 0.3; write fast_below no larger than fast_until"),
        ({"escalated_until": 0.7}, "escalated_until is 0.7 and escalated_from is 0.6"),
        ({"kappa": 0.0}, "kappa is 0.0; write nats greater than zero"),
        ({"kappa": math.inf}, "kappa is inf"),
    ):
        with pytest.raises(ValueError, match=said):
            RoutingParameters(**wrong)


@given(st.lists(ROUTE, max_size=6))
@quick
def test_the_state_survives_storage(routes: list[int]) -> None:
    router, before = Router(), RoutingState(torch.tensor(routes, dtype=torch.int64))
    after = router.from_arrays(router.to_arrays(before))
    assert after.route.dtype == torch.int64 and torch.equal(after.route, before.route)


def test_a_stored_state_that_does_not_fit_is_refused() -> None:
    for wrong in (3, -2):
        with pytest.raises(ValueError, match=rf"array 'route'\[1\] is {wrong}; write -1 to 2"):
            Router().from_arrays({"route": np.array([0, wrong])})
    with pytest.raises(ValueError, match="missing from the stored state"):
        Router().from_arrays({})
