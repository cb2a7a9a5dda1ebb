"""The store itself: numbered generations of each key, the newest good one of which counts.

A generation is one checkpoint file as ``files/checkpoint.py`` writes it. Its metadata repeats its key and number, so
that a file that was put in another's place is noticed just as one that was damaged.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoint import pack_arrays, unpack_arrays
from ..errors import CheckpointError
from .medium import Medium, StaleWriter, StoreUnavailable, Unreadable
from .schema import ArraySpec, check_schema

#: Generations of each key that are kept.
KEPT = 3
#: Times to look again where other writers keep changing what is looked at.
_ATTEMPTS = 20

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What was saved. generation: its number; latest: the newest number there is, which is larger if newer ones are
    damaged. Give ``latest`` as ``after`` to go on from it."""

    generation: int
    latest: int
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]


class CheckpointStore:
    """Checkpoints by key: any text that is not empty. Made by :func:`open_store`."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium

    @property
    def where(self) -> str:
        """The place in words, without any password."""
        return self._medium.where

    def save(
        self, key: str, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any], after: int | None = None
    ) -> int:
        """Save a new generation and return its number; it is stored when this returns, and the last three are kept.

        arrays, meta: as :func:`cognitive_actors.files.save_arrays` takes them. after: the newest generation this
        writer knows (0 for none). Raises StaleWriter if somebody else has saved since ``after``, StoreUnavailable
        where the store refuses or does not answer (then the generation may have been stored all the same), and
        CheckpointError for what cannot be stored.
        """
        _check_key(key)
        for _ in range(_ATTEMPTS):
            newest = max(self._medium.generations(key), default=0)
            if after is not None and newest != after:
                raise StaleWriter(
                    f"{self._name(key)}: not saved: it is at generation {newest}, and this writer last knew {after};"
                    " another writer has taken over, so end this one, or load and go on from there"
                )
            number = newest + 1
            content = pack_arrays(
                arrays, {"key": key, "generation": number, "meta": dict(meta)}, self._name(key, number)
            )
            if self._medium.add(key, number, content, KEPT):
                return number
        raise StoreUnavailable(
            f"{self._name(key)}: not saved: other writers came first {_ATTEMPTS} times; give each writer its own key"
        )

    def load(self, key: str, schema: Mapping[str, ArraySpec] | None = None) -> Checkpoint | None:
        """The newest good generation of a key; None if it was never saved.

        A generation that is damaged, cut short or foreign is passed over with a warning. Raises CheckpointError if
        all are, SchemaMismatch if the arrays are not those of ``schema``, StoreUnavailable if the store does not
        answer.
        """
        _check_key(key)
        for _ in range(_ATTEMPTS):
            numbers = sorted(self._medium.generations(key), reverse=True)
            if not numbers:
                return None
            try:
                checkpoint = self._newest_good(key, numbers)
            except FileNotFoundError:
                # Dropped meanwhile, because newer ones were saved.
                continue
            if schema is not None:
                check_schema(checkpoint.arrays, schema, self._name(key, checkpoint.generation))
            return checkpoint
        raise StoreUnavailable(f"{self._name(key)}: its generations vanish while they are read; try again later")

    def keys(self) -> list[str]:
        """The keys that have been saved, sorted."""
        return self._medium.keys()

    def forget(self, key: str) -> None:
        """Remove every generation of a key, while nobody writes it: numbers begin at 1 again."""
        _check_key(key)
        self._medium.forget(key)

    def _newest_good(self, key: str, numbers: list[int]) -> Checkpoint:
        damaged: list[str] = []
        for number in numbers:
            try:
                checkpoint = self._read(key, number, numbers[0])
            except (CheckpointError, Unreadable) as error:
                if isinstance(error, StoreUnavailable):
                    raise
                damaged.append(f"generation {number} is damaged ({error})")
            else:
                if damaged:
                    said = "; ".join(damaged)
                    _log.warning("%s: %s; generation %d is used instead", self._name(key), said, number)
                return checkpoint
        raise CheckpointError(
            f"{self._name(key)}: no generation can be restored: {'; '.join(damaged)}."
            f" Put a good copy in place, or forget({key!r}) to start again without one"
        )

    def _read(self, key: str, number: int, latest: int) -> Checkpoint:
        name = self._name(key, number)
        arrays, meta = unpack_arrays(self._medium.read(key, number), name)
        if meta.get("key") != key or meta.get("generation") != number or not isinstance(meta.get("meta"), dict):
            raise CheckpointError(
                f"{name}: it is generation {meta.get('generation')!r} of {meta.get('key')!r}; put it back in its place"
            )
        return Checkpoint(number, latest, arrays, meta["meta"])

    def _name(self, key: str, generation: int | None = None) -> str:
        return f"{self.where}: {key!r}" + ("" if generation is None else f", generation {generation}")


def _check_key(key: str) -> None:
    if not isinstance(key, str) or not key:
        raise ValueError(f"the key of a checkpoint is {key!r}; write a name")
