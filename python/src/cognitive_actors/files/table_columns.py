"""The columns of a table of stimuli, for CSV and Parquet alike: id, agent, time, one per modality, delta.MODULATOR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.model import GenerativeModel
from ..core.modulator_parameters import MODULATORS
from .assemble import RawChunk
from .columns import Faults, shown
from .errors import InputError, suggestion

PLAIN = ("id", "agent", "time")
_DELTA = "delta."


class TableColumns:
    """The named columns of a file, checked against a model.

    Raises InputError for a column that is unknown, unnamed or there twice, and where no modality has a column.
    """

    def __init__(self, path: Path, names: Sequence[str], model: GenerativeModel) -> None:
        self.names = tuple(names)
        self.modalities = tuple(modality.name for modality in model.modalities)
        deltas = [_DELTA + modulator for modulator in MODULATORS]
        known = [*PLAIN, *self.modalities, *deltas]
        for name in known:
            if known.count(name) > 1:
                raise InputError(
                    f"{path}: the model's modality {name!r} is called like the field {name!r};"
                    " rename it in the model, or write the stimuli as JSONL"
                )
        for name in self.names:
            if name not in known:
                raise InputError(
                    f"{path}: unknown column {shown(name)}; {suggestion(name, known)}; the first line of a CSV file"
                    " must name the columns, and columns that are not used must be left out"
                )
            if self.names.count(name) > 1:
                raise InputError(f"{path}: the column {name!r} is there twice; leave one out")
        if not set(self.names) & set(self.modalities):
            raise InputError(
                f"{path}: no column holds observations; name one after a modality of the model:"
                f" {', '.join(map(repr, self.modalities))}"
            )

    def chunk(
        self,
        columns: Mapping[str, Sequence[Any]],
        lines: Sequence[int],
        text: Callable[[int], str],
        faults: Faults,
    ) -> RawChunk:
        """The values of some records, by column, as the fields of a chunk."""
        return RawChunk(
            lines=lines,
            text=text,
            observations={name: columns[name] for name in self.modalities if name in columns},
            id=columns.get("id"),
            agent=columns.get("agent"),
            time=columns.get("time"),
            delta={name: columns[_DELTA + name] for name in MODULATORS if _DELTA + name in columns},
            faults=faults,
        )
