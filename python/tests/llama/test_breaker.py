"""Breakers: what opens them, when there is a trial, and what a trial that fails does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitive_actors.llama.breaker import FAILURES, REST, WINDOW, Breaker

MOMENTS = st.lists(st.integers(0, 2000), max_size=12).map(sorted)


def test_a_breaker_that_saw_nothing_is_closed() -> None:
    assert Breaker().closed(0.0) and Breaker().recent(1e9) == 0


@pytest.mark.parametrize(
    ("moments", "now", "recent", "closed"),
    [
        ([0], 0, 1, True),
        ([0, 1], 1, 2, True),
        ([0, 1, 2], 2, 3, False),
        ([0, 1, 2], 61.9, 3, False),
        ([0, 1, 2], 62, 3, True),
        # The trial fails.
        ([0, 1, 2, 62], 62, 4, False),
        ([0, 1, 2, 62], 122, 4, True),
        # The first of three is no longer recent as the third comes.
        ([0, 150, 300], 300, 2, True),
        # It was when the third came: there is no trial before its time.
        ([0, 1, 299], 302, 1, False),
        # The trial fails when the first ones are long ago.
        ([0, 1, 299, 400], 400, 2, False),
        ([0, 1, 2, 302], 302, 1, True),
    ],
)
def test_worked_examples(moments: list[float], now: float, recent: int, closed: bool) -> None:
    breaker = Breaker.of(moments)
    assert (breaker.recent(now), breaker.closed(now)) == (recent, closed)


@given(MOMENTS, st.integers(0, 700))
def test_what_holds_of_every_breaker(moments: list[int], later: int) -> None:
    breaker, last = Breaker.of(moments), max(moments, default=0)
    now = last + later
    assert breaker.recent(now) == sum(now - moment < WINDOW for moment in moments)
    if len(moments) < FAILURES or later >= REST:
        assert breaker.closed(now)
    if breaker.recent(last) >= FAILURES:
        assert not breaker.closed(last)
    if not breaker.closed(last):
        # Whenever a trial fails, it is open again.
        assert breaker.failed(now).closed(now) == (later >= WINDOW)
        assert breaker.closed(now) == (later >= REST)


@given(MOMENTS, st.integers(0, 2000))
def test_what_is_long_ago_does_not_matter(moments: list[int], shift: int) -> None:
    beginning = max(moments, default=0) + WINDOW + shift
    again = [beginning + moment for moment in moments]
    assert Breaker.of([*moments, *again]) == Breaker.of(again)


@given(MOMENTS, st.integers(0, 10_000), st.integers(0, 400))
def test_only_differences_of_moments_matter(moments: list[int], shift: int, later: int) -> None:
    now = max(moments, default=0) + later
    one, other = Breaker.of(moments), Breaker.of([moment + shift for moment in moments])
    assert (one.recent(now), one.closed(now)) == (other.recent(now + shift), other.closed(now + shift))
