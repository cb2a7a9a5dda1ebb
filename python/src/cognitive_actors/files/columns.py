"""One field of many records at once: fast where all is well, exact about what is wrong where it is not.

Every parser takes the raw values of one field (n of them) and gives back an array or list of n entries together with
the faults: position → what is wrong and what to write. An entry at a faulty position has no meaning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.model import Modality
from .errors import suggestion

Faults = dict[int, str]

_NOTHING = type(None)
_NUMBERS = {int, float, _NOTHING}
_OUTCOMES = {str, int, _NOTHING}
_NAMES = {str, int, _NOTHING}


class OutcomeColumn:
    """Observations of one modality: names or numbers of outcomes, None (in text: nothing) for not observed.

    ``text`` says that the values are cells of a text table. There a name wins over a number, so that an outcome
    called "2" can be written.
    """

    def __init__(self, modality: Modality, *, text: bool = False) -> None:
        self.modality = modality
        self.text = text
        numbered = enumerate(modality.outcomes)
        self._table: dict[str | int | None, int] = {"" if text else None: -1}
        self._table.update({str(i) if text else i: i for i in range(len(modality.outcomes))})
        self._table.update({name: i for i, name in numbered})

    def parse(self, values: Sequence[Any]) -> tuple[np.ndarray, Faults]:
        """Values to outcome numbers, int64 (n,), −1 where nothing was observed."""
        lookup = self._table.get
        # True equals 1 and 1.0 equals 1 as keys of a table, hence the look at the types.
        if set(map(type, values)) <= _OUTCOMES:
            found = list(map(lookup, values))
        else:
            found = [lookup(value) if type(value) in _OUTCOMES else None for value in values]
        faults: Faults = {}
        if None in found:
            for position in [i for i, number in enumerate(found) if number is None]:
                value = values[position]
                stripped = lookup(value.strip()) if self.text else None
                if stripped is None:
                    faults[position] = self._explain(value)
                found[position] = -1 if stripped is None else stripped
        return np.array(found, dtype=np.int64), faults

    def _explain(self, value: Any) -> str:
        outcomes = self.modality.outcomes
        label = f"observation {self.modality.name!r}"
        if isinstance(value, str) and not (self.text and value.strip().lstrip("+-").isdigit()):
            missing = "; leave the cell empty where nothing was observed" if self.text else ""
            return f"{label} has no outcome {shown(value)}; {suggestion(value, outcomes)}{missing}"
        if type(value) is int or isinstance(value, str):
            return f"{label} is {shown(value)}, out of range; write a number from 0 to {len(outcomes) - 1}"
        return (
            f"{label} is {shown(value)}; write the name of an outcome, such as {outcomes[0]!r},"
            f" a whole number from 0 to {len(outcomes) - 1}, or null"
        )


class NumberColumn:
    """A number of at most ``limit`` either way per record; ``absent`` stands where there is none."""

    def __init__(self, label: str, absent: float, *, limit: float, text: bool = False) -> None:
        self.label = label
        self.absent = absent
        self.limit = limit
        self.text = text

    def parse(self, values: Sequence[Any]) -> tuple[np.ndarray, Faults]:
        """Values to float64 (n,)."""
        if not self.text and set(map(type, values)) <= {int, float}:
            try:
                array = np.array(values, dtype=np.float64)
            except OverflowError:
                pass
            else:
                # NaN compares as false.
                if (np.abs(array) <= self.limit).all():
                    return array, {}
        array = np.full(len(values), self.absent)
        faults: Faults = {}
        for position, value in enumerate(values):
            number = self._text_number(value) if self.text else _number(value)
            if number is None:
                number = self.absent
            elif not math.isfinite(number):
                faults[position] = f"{self.label} is {shown(value)}; write a finite number or leave it out"
            elif abs(number) > self.limit:
                faults[position] = f"{self.label} is {shown(value)}; write a number within ±{self.limit:g}"
            array[position] = number
        return array, faults

    @staticmethod
    def _text_number(value: str) -> float | None:
        if not value or value.isspace():
            return None
        try:
            # float() also reads 1_000, which no other program does.
            return math.nan if "_" in value else float(value)
        except ValueError:
            return math.nan


def parse_names(label: str, values: Sequence[Any], default: Callable[[int], str]) -> tuple[list[str], Faults]:
    """Identifiers: strings, or whole numbers taken as their digits; ``default`` names the positions without one."""
    if set(map(type, values)) <= {str} and all(values) and _encodable("".join(values)):
        return list(values), {}
    names: list[str] = []
    faults: Faults = {}
    for position, value in enumerate(values):
        name = default(position) if value is None else str(value)
        if type(value) not in _NAMES or not name or not _encodable(name):
            faults[position] = f"{label} is {shown(value)}; write a non-empty text in quotes or leave it out"
        names.append(name)
    return names, faults


def shown(value: Any) -> str:
    """A value as JSON writes it, shortened; only ASCII, because it may hold what UTF-8 cannot."""
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 80 else text[:79] + "…"


def _number(value: Any) -> float | None:
    """The value as a float, None where there is none, NaN where it is not a number."""
    if type(value) not in _NUMBERS:
        return math.nan
    if value is None:
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
