"""States of many agents: taken apart, put together, stored."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from cognitive_actors.core.batched import concatenate, from_arrays, leaves, put_, take, to_arrays


@dataclass(frozen=True)
class Inner:
    flag: Tensor


@dataclass(frozen=True)
class State:
    level: Tensor
    parts: tuple[Tensor, ...]
    inner: Inner
    counts: tuple[Tensor, ...] | None
    name: str


def state(n: int, offset: float = 0.0) -> State:
    level = torch.arange(n, dtype=torch.float64) + offset
    parts = (torch.arange(2 * n).reshape(n, 2), torch.arange(n, dtype=torch.float32))
    return State(level, parts, Inner(level > 1), None, "unchanged")


def equal(x: State, y: State) -> bool:
    mine, yours = dict(leaves(x)), dict(leaves(y))
    return mine.keys() == yours.keys() and all(torch.equal(v, yours[k]) for k, v in mine.items())


def test_leaves_are_named_by_their_place() -> None:
    assert [name for name, _ in leaves(state(3))] == ["level", "parts.0", "parts.1", "inner.flag"]
    assert [name for name, _ in leaves(replace(state(3), counts=(torch.ones(3),)))][-1] == "counts.0"


def test_take_and_put_are_each_others_inverse() -> None:
    whole, index = state(5), torch.tensor([4, 1])
    part = take(whole, index)
    assert part.level.tolist() == [4.0, 1.0] and part.parts[0].tolist() == [[8, 9], [2, 3]]
    assert (part.counts, part.name) == (None, "unchanged")
    put_(whole, index, replace(part, level=part.level + 100))
    assert whole.level.tolist() == [0.0, 101.0, 2.0, 3.0, 104.0]
    assert equal(replace(whole, level=state(5).level), state(5))


def test_concatenation_puts_the_second_behind_the_first() -> None:
    both = concatenate(state(2), state(3, offset=10))
    assert both.level.tolist() == [0.0, 1.0, 10.0, 11.0, 12.0]
    assert equal(take(both, torch.arange(2)), state(2))
    assert equal(take(both, torch.arange(2, 5)), state(3, offset=10))


def test_arrays_and_back_is_the_same_to_the_bit_and_a_copy() -> None:
    before = state(4, offset=0.1)
    arrays = to_arrays(before)
    back = from_arrays(state(0), arrays)
    assert equal(before, back)
    back.level.zero_()
    arrays["parts.0"][:] = 0
    assert equal(before, state(4, offset=0.1))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("level", None, "array 'level' is missing from the stored state; it belongs to another model or version"),
        ("other", np.zeros(2), "array 'other' is unknown in the stored state; it belongs to another model or version"),
        (
            "level",
            np.zeros(2, np.float32),
            "array 'level' is torch.float32 .2,. in the stored state, not torch.float64",
        ),
        ("parts.0", np.zeros((2, 3), np.int64), r"array 'parts.0' is torch.int64 \(2, 3\) in the stored state, not"),
        ("level", np.zeros((2, 1)), r"array 'level' is torch.float64 \(2, 1\) in the stored state"),
        ("level", np.array(0.0), r"array 'level' is torch.float64 \(\) in the stored state"),
        ("parts.1", np.zeros(3, np.float32), "array 'parts.1' is for 3 agents and 'level' for 2; the stored state is"),
    ],
)
def test_arrays_of_another_state_are_refused(name: str, array: np.ndarray | None, message: str) -> None:
    arrays = to_arrays(state(2))
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    with pytest.raises(ValueError, match=message):
        from_arrays(state(0), arrays)
