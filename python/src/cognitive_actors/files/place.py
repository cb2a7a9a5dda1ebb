"""Values of a model file together with the place where they stand, so that every error can say where."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.validation import SUM_TOLERANCE, ModelError
from .columns import shown
from .errors import suggestion
from .yaml_text import Document

#: One axis of an array: its length and what its entries are ("state of 'regime'").
Axis = tuple[int, str]


@dataclass(frozen=True)
class Place:
    """A value in a YAML document. Its methods give the value in the form asked for or raise ModelError.

    keys: where it stands, from the root. label: the same for people.
    """

    path: Path
    document: Document
    value: Any
    keys: tuple[str | int, ...] = ()
    label: str = ""

    def error(self, message: str) -> ModelError:
        """An error with the file, the line and the path of this value in front of the message."""
        label = f"{self.label}: " if self.label else ""
        return ModelError(f"{self.path}, line {self.document.line(self.keys)}: {label}{message}")

    def child(self, key: str | int, name: str = "") -> Place:
        """The value under a key or at a position; ``name`` says more about it in errors."""
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.label else key
        label = f"{self.label}{step} ({name!r})" if name else f"{self.label}{step}"
        return Place(self.path, self.document, self.value[key], (*self.keys, key), label)

    def fields(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Place]:
        """A mapping with these keys and no others."""
        known = [*required, *optional]
        if not isinstance(self.value, dict):
            raise self.error(f"{shown(self.value)}; write a mapping with the keys {', '.join(required)}")
        for key in self.value:
            if key not in known:
                raise self.child(key).error(f"unknown key; {suggestion(key, known)}")
        for key in required:
            if key not in self.value:
                raise self.error(f"the key {key!r} is missing; write it")
        return {key: self.child(key) for key in self.value}

    def items(self, what: str) -> list[Place]:
        """A list with at least one entry. An entry with a name is called by it in errors."""
        if not isinstance(self.value, list) or not self.value:
            raise self.error(f"{shown(self.value)}; write a list of {what}, at least one")
        names = [value.get("name") if isinstance(value, dict) else None for value in self.value]
        return [self.child(i, name if isinstance(name, str) else "") for i, name in enumerate(names)]

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            # YAML reads yes, no, on, off as truth values and 2012-01-01 as a date.
            raise self.error(f"{shown(self.value)} is not a text; write a name, in quotes where it looks like a value")
        return self.value

    def names(self, what: str) -> tuple[str, ...]:
        """Different texts, at least one."""
        texts = tuple(place.text() for place in self.items(what))
        for i, text in enumerate(texts):
            if text in texts[:i]:
                raise self.child(i).error(f"{text!r} is there twice; give each of the {what} a name of its own")
        return texts

    def whole(self, minimum: int) -> int:
        """A whole number, at least ``minimum``."""
        if type(self.value) is not int or self.value < minimum:
            raise self.error(f"{shown(self.value)}; write a whole number, {minimum} or more")
        return self.value

    def flag(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.error(f"{shown(self.value)}; write true or false")
        return self.value

    def number(self) -> float:
        """A finite number."""
        if type(self.value) not in (int, float):
            raise self.error(f"{shown(self.value)}; write a number")
        try:
            number = float(self.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.error(f"{number}; write a finite number")
        return number

    def array(self, axes: Sequence[Axis]) -> np.ndarray:
        """Nested lists of finite numbers, float64, with these axes."""
        if not axes:
            return np.array(self.number())
        length, meaning = axes[0]
        if not isinstance(self.value, list):
            raise self.error(f"{shown(self.value)}; write a list of {length}, one per {meaning}")
        if len(self.value) != length:
            entries = "1 entry" if len(self.value) == 1 else f"{len(self.value)} entries"
            raise self.error(f"{entries}; write {length}, one per {meaning}")
        # Whole rows where all is well: an array of many numbers would take seconds entry by entry.
        if len(axes) == 1 and set(map(type, self.value)) <= {int, float}:
            row = np.array([x if abs(x) < sys.float_info.max else math.nan for x in self.value], dtype=np.float64)
            if np.isfinite(row).all():
                return row
        return np.array([self.child(i).array(axes[1:]) for i in range(length)])

    def distributions(self, axes: Sequence[Axis]) -> np.ndarray:
        """An array whose entries are probabilities that sum to one over the last axis."""
        x = self.array(axes)
        bad = np.argwhere((x < 0) | (x > 1 + SUM_TOLERANCE))
        if len(bad):
            raise self._entry(bad[0]).error(f"{x[tuple(bad[0])]:g}; write a probability between 0 and 1")
        sums = x.sum(axis=-1)
        bad = np.argwhere(np.abs(sums - 1) > SUM_TOLERANCE)
        if len(bad):
            length, meaning = axes[-1]
            raise self._entry(bad[0]).error(
                f"sums to {sums[tuple(bad[0])]:.6g}, not 1; write {length} probabilities, one per {meaning},"
                " that sum to 1"
            )
        return x

    def counts(self, axes: Sequence[Axis]) -> np.ndarray:
        """An array of Dirichlet counts."""
        x = self.array(axes)
        bad = np.argwhere(x <= 0)
        if len(bad):
            raise self._entry(bad[0]).error(f"{x[tuple(bad[0])]:g}; write a count greater than zero")
        return x

    def _entry(self, index: Iterable[int]) -> Place:
        place = self
        for i in index:
            place = place.child(int(i))
        return place
