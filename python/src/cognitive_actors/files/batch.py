"""What reading stimuli yields: columns of the good records and a note on each bad one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A rejected record is quoted up to this many characters.
QUOTED = 2000


@dataclass(frozen=True)
class Reject:
    """A record that was left out: where it stands, why, and its text (at most 2000 characters).

    ``line`` counts from 1: the line of a JSONL or CSV file (whose header is line 1), the row of a Parquet file.
    """

    file: str
    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Batch:
    """Consecutive records of one file, n of them good.

    ids, agents: n strings. time: float64 (n,), seconds, NaN where absent. observations: int64 (n, modalities),
    the number of the outcome, −1 where nothing was observed. delta: float64 (n, 5), modulator impulses in the
    order of MODULATORS, 0 where absent. lines: int64 (n,), as in :class:`Reject`. ``start`` and ``position`` count
    the records of all files, good and bad, before this batch and up to its end: a run that has finished this batch
    resumes with ``skip=position``.
    """

    source: str
    ids: list[str]
    agents: list[str]
    time: np.ndarray
    observations: np.ndarray
    delta: np.ndarray
    lines: np.ndarray
    rejects: tuple[Reject, ...]
    start: int
    position: int

    def __len__(self) -> int:
        return len(self.ids)


def quoted(text: str | bytes) -> str:
    """The beginning of a record as text that can be printed and stored, whatever its bytes are."""
    if isinstance(text, bytes):
        # Four bytes make at most one character fewer than they are, so this many are enough.
        text = text[: 4 * QUOTED].decode("utf-8", errors="backslashreplace")
    return text.encode("utf-8", errors="backslashreplace").decode()[:QUOTED]
