"""Stimuli of a chunk that have names of their own, so that one that comes again is not lived again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..core.answers import Answers
from ..core.roster import Chunk
from ..files.plain_text import from_text

Columns = Mapping[str, np.ndarray]
#: Names of stimuli, and which rows of a chunk were lived, are kept apart from the names of whole chunks.
_PREFIX, _ROWS = "stimulus:", "rows:"


@dataclass(frozen=True)
class NamedStimuli:
    """A chunk as the answers so far see it.

    names: of each stimulus, None for one without; fresh: positions of those that are to be
    lived; twins: positions of those whose name stands before in this very chunk, and of which; known: what the others
    were answered, columns and row of each; refused: positions that are not lived, and why.
    """

    chunk: Chunk
    names: Sequence[str | None]
    fresh: list[int] = field(default_factory=list)
    twins: dict[int, int] = field(default_factory=dict)
    known: dict[int, tuple[Columns, int]] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, chunk: Chunk, names: Sequence[str | None], request: str, answers: Answers) -> NamedStimuli:
        """Sort the stimuli of a chunk, itself named ``request``. Raises ValueError for another number of names than of
        stimuli, LookupError where the chunk is known and its answer no longer kept."""
        if len(names) != len(chunk.names):
            raise ValueError(f"{len(names)} names for {len(chunk.names)} stimuli; write one for each, or None")
        found, wholes, first = cls(chunk, names), dict[str, Columns](), dict[str, int]()
        if _ROWS + request in answers:
            # The whole chunk comes again: those without a name are known by their place.
            wholes[request] = from_text(answers.text(request))
            rows = json.loads(answers.text(_ROWS + request))
            found.known.update({row: (wholes[request], place) for place, row in enumerate(rows)})
        for row, name in enumerate(names):
            if row in found.known:
                continue
            if name is None:
                found.fresh.append(row)
            elif _PREFIX + name in answers:
                found._recall(row, answers, wholes)
            elif name in first and _digest(chunk, row) != _digest(chunk, first[name]):
                found.refused[row] = _other(name)
            elif name in first:
                found.twins[row] = first[name]
            else:
                first[name] = row
                found.fresh.append(row)
        return found

    def rest(self) -> Chunk:
        """The stimuli that are to be lived."""
        chunk, rows = self.chunk, np.array(self.fresh, dtype=np.int64)
        names = [chunk.names[row] for row in self.fresh]
        return Chunk(names, chunk.time[rows], chunk.observations[rows], chunk.delta[rows])

    def parts(self, whole: str) -> dict[str, str]:
        """What is to be known of the stimuli once they are lived, under the name of the whole chunk."""
        rows = enumerate((row, self.names[row]) for row in self.fresh)
        named = {
            _PREFIX + name: json.dumps([whole, place, _digest(self.chunk, row)])
            for place, (row, name) in rows
            if name is not None
        }
        return {**named, _ROWS + whole: json.dumps(self.fresh)}

    def whole(self, lived: Columns) -> dict[str, np.ndarray]:
        """Columns of the whole chunk from those of the stimuli just lived; rows that were refused mean nothing."""
        if len(self.fresh) == len(self.names):
            return dict(lived)
        sources = {row: (lived, place) for place, row in enumerate(self.fresh)} | self.known
        sources |= {row: sources[first] for row, first in self.twins.items()}
        columns: dict[str, np.ndarray] = {}
        for row, (source, place) in sources.items():
            for name, x in source.items():
                if name not in columns:
                    columns[name] = np.zeros((len(self.names), *x.shape[1:]), x.dtype)
                columns[name][row] = x[place]
        return columns

    def _recall(self, row: int, answers: Answers, wholes: dict[str, Columns]) -> None:
        name = self.names[row]
        assert name is not None
        try:
            whole, place, digest = json.loads(answers.text(_PREFIX + name))
            if digest != _digest(self.chunk, row):
                self.refused[row] = _other(name)
                return
            if whole not in wholes:
                wholes[whole] = from_text(answers.text(whole))
            self.known[row] = wholes[whole], place
        except LookupError:
            self.refused[row] = f"{name!r} has been lived, and its answer is no longer kept; look at the agent"


def _other(name: str) -> str:
    return f"{name!r} was the name of another stimulus; give each a name of its own"


def _digest(chunk: Chunk, row: int) -> str:
    digest = hashlib.blake2b(chunk.names[row].encode(errors="surrogatepass"), digest_size=16)
    for x in (chunk.time, chunk.observations, chunk.delta):
        digest.update(np.ascontiguousarray(x[row]).tobytes())
    return digest.hexdigest()
