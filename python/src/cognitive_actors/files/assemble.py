"""From the raw fields of a chunk of records to a batch: every format ends here, so that all obey the same rules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.model import GenerativeModel
from ..core.modulator_parameters import MODULATORS
from .batch import Batch, Reject
from .columns import Faults, NumberColumn, OutcomeColumn, parse_names

DEFAULT_AGENT = "0"

#: Seconds, 30 million years: beyond, float64 no longer tells eighths of a second apart.
LATEST = 1e15
#: Of an impulse to levels between 0 and 1: far beyond any meaning, and far from what overflows.
STRONGEST = 1e6


@dataclass
class RawChunk:
    """The fields of n consecutive records as they stand in the file; a field that no record has is None or missing.

    ``faults`` are the records whose form is wrong already; their other fields must hold None, or "" in a text table.
    ``text`` quotes the record at a position.
    """

    lines: Sequence[int]
    text: Callable[[int], str]
    observations: Mapping[str, Sequence[Any]]
    id: Sequence[Any] | None = None
    agent: Sequence[Any] | None = None
    time: Sequence[Any] | None = None
    delta: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    faults: Faults = field(default_factory=dict)


class Fields:
    """What a record may hold, given a model; ``text`` for formats in which every value is a text."""

    def __init__(self, model: GenerativeModel, *, text: bool = False) -> None:
        self.modalities = tuple(modality.name for modality in model.modalities)
        self.example = f'{{"observation": {{"{model.modalities[0].name}": "{model.modalities[0].outcomes[0]}"}}}}'
        self._outcomes = [OutcomeColumn(modality, text=text) for modality in model.modalities]
        self._time = NumberColumn("time", math.nan, limit=LATEST, text=text)
        self._delta = [NumberColumn(f"delta of {name!r}", 0.0, limit=STRONGEST, text=text) for name in MODULATORS]

    def assemble(self, raw: RawChunk, source: str, prefix: str, start: int) -> Batch:
        """Check every field and separate good records from bad ones.

        prefix: what default ids begin with. start: how many records of all files came before.
        """
        n = len(raw.lines)
        faults = dict(raw.faults)

        def note(more: Faults) -> None:
            for position, reason in more.items():
                faults.setdefault(position, reason)

        ids, more = parse_names("id", raw.id or [None] * n, lambda i: f"{prefix}:{raw.lines[i]}")
        note(more)
        agents, more = parse_names("agent", raw.agent or [None] * n, lambda i: DEFAULT_AGENT)
        note(more)
        time, more = (np.full(n, math.nan), {}) if raw.time is None else self._time.parse(raw.time)
        note(more)
        observations, more = self._observations(raw, n)
        note(more)
        delta = np.zeros((n, len(MODULATORS)))
        for i, (name, column) in enumerate(zip(MODULATORS, self._delta, strict=True)):
            if name in raw.delta:
                delta[:, i], more = column.parse(raw.delta[name])
                note(more)

        lines = np.array(raw.lines, dtype=np.int64)
        rejects = tuple(Reject(source, raw.lines[i], faults[i], raw.text(i)) for i in sorted(faults))
        if faults:
            good = np.ones(n, dtype=bool)
            good[list(faults)] = False
            kept = np.flatnonzero(good)
            ids, agents = [ids[i] for i in kept], [agents[i] for i in kept]
            time, observations, delta, lines = time[kept], observations[kept], delta[kept], lines[kept]
        return Batch(source, ids, agents, time, observations, delta, lines, rejects, start, start + n)

    def _observations(self, raw: RawChunk, n: int) -> tuple[np.ndarray, Faults]:
        numbers = np.full((n, len(self._outcomes)), -1, dtype=np.int64)
        faults: Faults = {}
        for i, (name, column) in enumerate(zip(self.modalities, self._outcomes, strict=True)):
            if name in raw.observations:
                numbers[:, i], more = column.parse(raw.observations[name])
                for position, reason in more.items():
                    faults.setdefault(position, reason)
        for position in np.flatnonzero((numbers < 0).all(axis=1)).tolist():
            faults.setdefault(position, f"nothing is observed; write at least one outcome, as in {self.example}")
        return numbers, faults
