"""Agents by name, and the stimuli of a chunk handed to them in the order in which they came.

A chunk is cut into waves that hold at most one stimulus of each agent; a wave is one cognitive cycle of a batch.
An agent's number, and with it every random draw it makes, follows from its name alone, so results do not depend on
how agents are spread over machines or stimuli over chunks.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from . import batched
from .cycle import CognitiveCycle, Outcome, Population

#: Seconds between two stimuli of an agent that carry no time.
DEFAULT_INTERVAL = 1.0
#: Rounding of float64 seconds must not look like a clock that runs backwards: seconds, and a share of the time itself.
CLOCK_TOLERANCE, CLOCK_ROUNDING = 1e-6, 1e-15


@dataclass(frozen=True)
class Chunk:
    """n stimuli in order. names: n agents; time: (n,) seconds, NaN where absent; observations: int64
    (n, modalities), -1 where absent; delta: (n, 5) modulator impulses."""

    names: Sequence[str]
    time: np.ndarray
    observations: np.ndarray
    delta: np.ndarray


def agent_number(name: str) -> int:
    """A 63-bit number that depends on the name alone."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


def pack_names(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Names as arrays that keep every character and take no more room than they need.

    names: uint8, the UTF-8 bytes of all names; name_lengths: int64 (n,), bytes of each.
    """
    encoded = [name.encode() for name in names]
    return {
        "names": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        "name_lengths": np.array([len(name) for name in encoded], dtype=np.int64),
    }


def unpack_names(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """The inverse of :func:`pack_names`; other arrays are ignored. Raises ValueError where the two do not fit."""
    text, lengths = arrays["names"].tobytes(), arrays["name_lengths"]
    ends = np.cumsum(lengths)
    if (lengths < 0).any() or (int(ends[-1]) if len(ends) else 0) != len(text):
        raise ValueError(f"the stored names take {len(text)} bytes, which is not what their lengths add up to")
    return [text[end - length : end].decode() for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]


class Roster:
    """The agents one process looks after: their names and their state.

    Raises ValueError for a model in which agents have arrays of their own: it could not tell whose are whose.
    """

    def __init__(self, cycle: CognitiveCycle) -> None:
        if not cycle.model.shared:
            raise ValueError(
                f"model {cycle.model.name!r} has arrays of their own for several agents; write one model for all"
            )
        self.cycle = cycle
        self.rows: dict[str, int] = {}
        self.population: Population = cycle.initial(0)

    def __len__(self) -> int:
        return len(self.rows)

    @torch.inference_mode()
    def process(self, chunk: Chunk) -> dict[str, np.ndarray]:
        """Run every stimulus of a chunk; one row of each column per stimulus, in the chunk's order.

        ``late`` marks stimuli older than their agent's clock: they are left out, and their other columns mean
        nothing.
        """
        rows = self._admit(chunk)
        columns: dict[str, np.ndarray] = {"late": np.zeros(len(rows), dtype=bool), "time": np.zeros(len(rows))}
        for where in waves(rows):
            self._wave(chunk, rows, where, columns)
        return columns

    def snapshot(self) -> dict[str, np.ndarray]:
        """Names (as :func:`pack_names`) and state as arrays: what a checkpoint stores and :meth:`restore` takes."""
        return {**pack_names(list(self.rows)), **batched.to_arrays(self.population)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot. Raises ValueError if it belongs to another model."""
        names = unpack_names(arrays)
        state = {name: x for name, x in arrays.items() if name not in ("names", "name_lengths")}
        population = batched.from_arrays(self.cycle.initial(0), state)
        if len(names) != len(population.agents):
            raise ValueError(f"the stored state has {len(names)} names for {len(population.agents)} agents")
        self.rows, self.population = {name: row for row, name in enumerate(names)}, population

    def _admit(self, chunk: Chunk) -> np.ndarray:
        """The row of each stimulus' agent; agents never seen before join at rest, at their first stimulus' time."""
        first: dict[str, float] = {}
        for name, time in zip(chunk.names, chunk.time.tolist(), strict=True):
            if name not in self.rows and name not in first:
                first[name] = 0.0 if math.isnan(time) else time
        if first:
            numbers = torch.tensor([agent_number(name) for name in first])
            born = torch.tensor(list(first.values()), dtype=torch.float64) * self.cycle.settings.time_scale
            newcomers = self.cycle.initial(numbers, time=born)
            self.population = batched.concatenate(self.population, newcomers)
            for name in first:
                self.rows[name] = len(self.rows)
        return np.fromiter((self.rows[name] for name in chunk.names), dtype=np.int64, count=len(chunk.names))

    def _wave(self, chunk: Chunk, rows: np.ndarray, where: np.ndarray, columns: dict[str, np.ndarray]) -> None:
        clock = self.population.time.numpy(force=True)[rows[where]] / self.cycle.settings.time_scale
        given = chunk.time[where]
        now = np.where(np.isnan(given), clock + DEFAULT_INTERVAL, given)
        # An agent's very first stimulus without a time happens at its time of birth.
        now = np.where(np.isnan(given) & (self.population.step.numpy(force=True)[rows[where]] == 0), clock, now)
        late = now < clock - np.maximum(CLOCK_TOLERANCE, CLOCK_ROUNDING * np.abs(clock))
        columns["late"][where], columns["time"][where] = late, now
        if late.any():
            where, now, clock = where[~late], now[~late], clock[~late]
            if not len(where):
                return
        device = self.cycle.model.device
        index = torch.from_numpy(rows[where]).to(device)
        everyone = len(where) == len(self.rows)
        population = self.population if everyone else batched.take(self.population, index)
        observed = torch.from_numpy(chunk.observations[where]).to(device)
        delta = chunk.delta[where]
        population, outcome = self.cycle.step(
            population,
            tuple(observed.unbind(dim=1)),
            torch.from_numpy(np.maximum(now - clock, 0.0)).to(device),
            torch.from_numpy(delta).to(device) if delta.any() else None,
        )
        if everyone:
            self.population = population
        else:
            batched.put_(self.population, index, population)
        _record(columns, where, outcome, len(rows))


def waves(rows: np.ndarray) -> list[np.ndarray]:
    """Positions 0..n-1 in groups that hold each row at most once, keeping every row's own order.

    Within a wave positions are sorted by row, so that a wave of all agents is the whole population as it is stored.
    """
    n = len(rows)
    if not n:
        return []
    order = np.argsort(rows, kind="stable")
    starts = np.flatnonzero(np.r_[True, rows[order][1:] != rows[order][:-1]])
    occurrence = np.arange(n) - np.repeat(starts, np.diff(np.r_[starts, n]))
    by_wave = np.argsort(occurrence, kind="stable")
    return np.split(order[by_wave], np.cumsum(np.bincount(occurrence))[:-1])


def _record(columns: dict[str, np.ndarray], where: np.ndarray, outcome: Outcome, n: int) -> None:
    for name, values in batched.leaves(outcome):
        array = values.numpy(force=True)
        if name not in columns:
            columns[name] = np.zeros((n, *array.shape[1:]), dtype=array.dtype)
        columns[name][where] = array
