"""Values as text: they come back as they were, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from cognitive_actors.files import CheckpointError
from cognitive_actors.files.plain_text import from_text, to_text

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=10)


@given(VALUES)
def test_plain_values_come_back(value: Any) -> None:
    text = to_text(value, "it")
    read = from_text(text)
    assert repr(read) == repr(value) and text.isascii()


@given(arrays_of.arrays(arrays_of.scalar_dtypes(), arrays_of.array_shapes(min_dims=0, min_side=0, max_dims=3)))
def test_arrays_come_back(array: np.ndarray) -> None:
    read = from_text(to_text(array, "it"))
    assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, array.tobytes())


@given(
    st.dictionaries(st.text(), arrays_of.arrays(np.float64, arrays_of.array_shapes(min_dims=0, min_side=0)), min_size=1)
)
def test_arrays_by_name_come_back(given_: dict[str, np.ndarray]) -> None:
    read = from_text(to_text(given_, "it"))
    assert list(read) == list(given_)
    for name, array in given_.items():
        assert (read[name].dtype, read[name].shape, read[name].tobytes()) == (
            array.dtype,
            array.shape,
            array.tobytes(),
        )


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: "a"},
        {"a": [(1,)]},
        float("nan"),
        [float("inf")],
        object(),
        {"a": np.zeros(2), "b": 1},
        np.array([{}]),
        b"x",
    ],
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError, match=r"^it (cannot be kept in|would come back changed from) a checkpoint"):
        to_text(value, "it")
