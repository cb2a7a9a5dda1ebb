"""Two windows compared, against plain loops, tables and permutations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cognitive_actors.core.two_sample import kolmogorov_tail, two_sample

quick = settings(max_examples=60)
#: Few different values, so that ties within and between windows are common.
WINDOW = st.lists(st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6)), min_size=2, max_size=12)


def row(x: list[float]) -> Tensor:
    return torch.tensor([x], dtype=torch.float64)


def largest_distance(a: list[float], b: list[float]) -> float:
    """By counting at every value."""
    return max(abs(sum(x <= v for x in a) / len(a) - sum(x <= v for x in b) / len(b)) for v in a + b)


def test_by_hand() -> None:
    """Means 2 and 5, both of variance 1: d = 3. All of the first below all of the second: distance 1."""
    found = two_sample(row([1, 2, 3]), row([4, 5, 6]))
    assert float(found.difference) == pytest.approx(3, abs=1e-12) and float(found.ks) == 1
    # 1,2,2,3 | 2,3,4: F1 is ahead by 1/4 at 1, 3/4 - 1/3 = 5/12 at 2, 1 - 2/3 at 3.
    assert float(two_sample(row([1, 2, 2, 3]), row([2, 3, 4])).ks) == pytest.approx(5 / 12, abs=1e-15)


@given(WINDOW, WINDOW)
@quick
def test_equal_to_plain_loops(a: list[float], b: list[float]) -> None:
    found = two_sample(row(a), row(b))
    n, m = len(a), len(b)
    assert float(found.ks) == pytest.approx(largest_distance(a, b), abs=1e-14)
    assert float(found.p_value) == pytest.approx(by_sum(math.sqrt(n * m / (n + m)) * float(found.ks)), abs=1e-12)
    pooled = math.sqrt((np.var(a) * n + np.var(b) * m) / (n + m - 2))
    if pooled > 1e-3:
        assert float(found.difference) == pytest.approx((np.mean(b) - np.mean(a)) / pooled, rel=1e-6, abs=1e-6)


def by_sum(x: float) -> float:
    """The alternating series by itself, over so many terms that it has converged for every x that is not zero."""
    if x < 1e-2:
        return 1.0
    return 2 * math.fsum((-1) ** (j - 1) * math.exp(-2 * j * j * x * x) for j in range(1, 2000))


@given(WINDOW, WINDOW)
@quick
def test_what_the_statistics_do_not_depend_on(a: list[float], b: list[float]) -> None:
    forth, back = two_sample(row(a), row(b)), two_sample(row(b), row(a))
    assert torch.equal(forth.ks, back.ks) and torch.equal(forth.p_value, back.p_value)
    torch.testing.assert_close(forth.difference, -back.difference, rtol=1e-6, atol=1e-6)
    turned = two_sample(row(a[::-1]), row(sorted(b)))
    assert torch.equal(forth.ks, turned.ks)
    assert torch.equal(two_sample(row(a) * 8, row(b) * 8).ks, forth.ks)


def test_streams_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.normal(0, 1, (6, n))) for n in (20, 10))
    together = two_sample(a, b)
    for n in range(6):
        alone = two_sample(a[n : n + 1], b[n : n + 1])
        for name in ("difference", "ks", "p_value"):
            torch.testing.assert_close(getattr(alone, name), getattr(together, name)[n : n + 1], rtol=0, atol=1e-14)


def test_the_tail_at_the_points_of_the_tables() -> None:
    """Critical values of the Kolmogorov distribution (Smirnov 1948): 1.2238, 1.3581, 1.6276 at .10, .05, .01."""
    tail = kolmogorov_tail(torch.tensor([1.22384787, 1.35809864, 1.62762361]))
    torch.testing.assert_close(tail, torch.tensor([0.1, 0.05, 0.01], dtype=torch.float64), rtol=1e-5, atol=0)


def test_the_tail_everywhere() -> None:
    x = torch.linspace(0, 8, 401, dtype=torch.float64)
    tail = kolmogorov_tail(x)
    torch.testing.assert_close(
        tail, torch.tensor([by_sum(v) for v in x.tolist()], dtype=torch.float64), rtol=0, atol=1e-12
    )
    assert float(tail[0]) == 1 and bool((tail.diff() <= 0).all()) and 0 < float(tail[-1]) < 1e-50


@pytest.mark.parametrize(("n", "m"), [(6, 6), (5, 8), (7, 6)])
def test_the_p_value_is_near_the_share_of_permutations(n: int, m: int) -> None:
    """Under exchangeability each way to divide the pooled ranks is as likely: exact, by enumeration."""
    ways = [list(c) for c in itertools.combinations(range(n + m), n)]
    rest = [[i for i in range(n + m) if i not in c] for c in ways]
    found = two_sample(torch.tensor(ways).double(), torch.tensor(rest).double())
    for d in sorted(set(found.ks.tolist())):
        exact = float((found.ks >= d - 1e-12).double().mean())
        asymptotic = float(found.p_value[found.ks == d][0])
        # Even for windows as short as these; on the safe side where it matters.
        assert abs(asymptotic - exact) < 0.2 and (exact > 0.1 or asymptotic > exact)


def test_the_rate_of_false_alarms_and_of_those_that_are_none() -> None:
    rng = np.random.default_rng(2)
    a, b = (torch.from_numpy(rng.normal(0, 1, (4000, n))) for n in (200, 100))
    for level in (0.01, 0.05, 0.2):
        rate = float((two_sample(a, b).p_value < level).double().mean())
        assert level * 0.6 < rate < level * 1.15 + 3 * math.sqrt(level / 4000)
    shifted = two_sample(a, b + 1)
    assert float((shifted.p_value < 0.001).double().mean()) > 0.99
    assert float(shifted.difference.mean()) == pytest.approx(1, abs=0.02)
    # Another spread at the same mean: only the distribution tells.
    wider = two_sample(a, b * 3)
    assert float((wider.p_value < 0.01).double().mean()) > 0.99 and abs(float(wider.difference.mean())) < 0.02


def test_equal_numbers_have_no_spread_whatever_their_size() -> None:
    for value in (0.1, 1e9 + 0.1, -1e149):
        found = two_sample(row([value] * 7), row([value] * 3))
        assert (float(found.difference), float(found.ks), float(found.p_value)) == (0, 0, 1)
    found = two_sample(row([1.0] * 7), row([1.5] * 3), smallest_deviation=0.25)
    assert (float(found.difference), float(found.ks)) == (2, 1)


def test_what_is_refused() -> None:
    one, two = row([1.0, 2.0]), row([3.0])
    with pytest.raises(ValueError, match=r"second\[0, 0\] is nan; write a finite number"):
        two_sample(one, two * math.nan)
    with pytest.raises(ValueError, match=r"first\[0, 0\] is inf"):
        two_sample(one * math.inf, two)
    with pytest.raises(ValueError, match=r"have shapes \(2,\) and \(1, 1\); write \(streams, n\)"):
        two_sample(one[0], two)
    with pytest.raises(ValueError, match="are 1 and 1 long; write 1 or more each, and 3 or more together"):
        two_sample(two, two)
    with pytest.raises(ValueError, match="smallest_deviation is 0; write a number greater than zero"):
        two_sample(one, two, 0)
