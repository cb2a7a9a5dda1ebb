"""What the arrays of a checkpoint must look like, and in what they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import CheckpointError


class SchemaMismatch(CheckpointError):
    """The checkpoint is whole, and of something else than what is expected."""


@dataclass(frozen=True)
class ArraySpec:
    """An array's type, such as "float64", and its shape; None is an axis of any length."""

    dtype: str
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, array: np.ndarray, free: tuple[int, ...] = ()) -> ArraySpec:
        """The specification that an array meets, its axes ``free`` of any length."""
        return cls(array.dtype.str, tuple(None if i in free else n for i, n in enumerate(array.shape)))

    def __str__(self) -> str:
        axes = ", ".join("any" if n is None else str(n) for n in self.shape)
        return f"{np.dtype(self.dtype)} ({axes})"

    def fits(self, array: np.ndarray) -> bool:
        """Whether an array meets the specification."""
        return (
            array.dtype == np.dtype(self.dtype)
            and array.ndim == len(self.shape)
            and all(wanted in (None, n) for wanted, n in zip(self.shape, array.shape, strict=True))
        )


def check_schema(arrays: Mapping[str, np.ndarray], schema: Mapping[str, ArraySpec], source: object) -> None:
    """Raise SchemaMismatch, naming every difference, unless the arrays are those of the schema."""
    wrong = [f"{name!r} is missing ({schema[name]})" for name in schema if name not in arrays]
    wrong += [f"{name!r} is not expected" for name in arrays if name not in schema]
    for name, expected in schema.items():
        if name in arrays and not expected.fits(arrays[name]):
            wrong.append(f"{name!r} is {ArraySpec.of(arrays[name])}, not {expected}")
    if wrong:
        raise SchemaMismatch(
            f"{source}: its arrays are not the expected ones: {'; '.join(wrong)};"
            " read it with what wrote it, or write another key"
        )
