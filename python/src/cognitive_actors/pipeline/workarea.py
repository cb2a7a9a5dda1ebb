"""The work area of a run: parts of results, rejects and checkpoints, until the whole is published at once.

    OUT/.run/lock             held while a run writes here
    OUT/.run/progress.json    what is committed: replaced atomically, everything else follows from it
    OUT/.run/part-*.parquet   results, one file per chunk
    OUT/.run/rejects.jsonl    rejected records
    OUT/.run/state-*.npz      the state of all agents where the next chunk begins

Results of an earlier run in OUT stay untouched until a new run is complete.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import pyarrow as pa

from ..files.atomic import remove_unfinished, replacing
from ..files.batch import Reject
from ..files.checkpoint import load_arrays, save_arrays
from ..files.errors import InputError
from ..files.results import append_rejects, concatenate, write_json, write_part

_VERSION = 1
# What a run that was just killed may take to be gone.
_ENDING_SECONDS = 2.0


@dataclass(frozen=True)
class Progress:
    """What of a run is committed. position: records read; parts: chunks written; reject_bytes: length of the log."""

    position: int = 0
    parts: int = 0
    results: int = 0
    rejects: int = 0
    reject_bytes: int = 0
    state: str | None = None


class WorkArea:
    """The directory of one run, locked against a second one. Use it in a ``with`` statement."""

    def __init__(self, out: Path, fingerprint: Mapping[str, Any], *, resume: bool) -> None:
        """``fingerprint``: what the run is made of; a resumed run must have the same one.

        Raises InputError if OUT cannot be written, another run is writing there, or there is a run to resume but of
        other input. With ``resume`` and nothing to resume, a run begins from the start.
        """
        self.out, self.directory = out, out / ".run"
        self.fingerprint = json.loads(json.dumps(dict(fingerprint)))
        try:
            self._lock = _locked(self.directory)
        except BlockingIOError:
            raise InputError(f"{out}: another run is writing there; wait for it, or write another --out") from None
        except OSError as error:
            raise InputError(f"{out}: {error.strerror or error}; write a directory that can be written") from None
        try:
            self._prepare(resume)
        except BaseException:
            self._lock.close()
            raise

    def _prepare(self, resume: bool) -> None:
        remove_unfinished(self.out)
        self.committed = Progress()
        if resume:
            self._resume()
        else:
            self._empty()
        self.current = self.committed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lock.close()

    def add(self, table: pa.Table, rejects: Sequence[Reject], position: int) -> None:
        """Write the results and rejects of one chunk. They count only once ``commit`` has been called."""
        write_part(self._part(self.current.parts), table)
        length = append_rejects(self._log, rejects) if rejects else self.current.reject_bytes
        self.current = replace(
            self.current,
            position=position,
            parts=self.current.parts + 1,
            results=self.current.results + table.num_rows,
            rejects=self.current.rejects + len(rejects),
            reject_bytes=length,
        )

    def commit(self, state: Mapping[str, np.ndarray]) -> None:
        """Make everything added so far the point from which a run is resumed. state: of all agents at this point."""
        name = f"state-{self.current.position:012d}.npz"
        save_arrays(self.directory / name, state, {"position": self.current.position})
        before, self.current = self.committed.state, replace(self.current, state=name)
        write_json(
            self.directory / "progress.json",
            {"version": _VERSION, "fingerprint": self.fingerprint, "progress": asdict(self.current)},
        )
        self.committed = self.current
        if before is not None and before != name:
            (self.directory / before).unlink(missing_ok=True)

    def roll_back(self) -> None:
        """Forget what was added after the last commit. Raises InputError if what was committed is not there."""
        self.current = self.committed
        append_rejects(self._log, (), keep=self.committed.reject_bytes)

    def state(self) -> dict[str, np.ndarray] | None:
        """The committed state of all agents. Raises CheckpointError if it is damaged."""
        if self.committed.state is None:
            return None
        return load_arrays(self.directory / self.committed.state)[0]

    def committed_parts(self) -> Iterator[Path]:
        return (self._part(i) for i in range(self.committed.parts))

    def publish(self, schema: pa.Schema, summary: Mapping[str, Any]) -> None:
        """Put results.parquet, rejects.jsonl and summary.json in place of those of an earlier run.

        The work area stays as it is: a run that is killed meanwhile is resumed and publishes again.
        """
        concatenate(list(self.committed_parts()), self.out / "results.parquet", schema=schema)
        with replacing(self.out / "rejects.jsonl") as file, open(self._log, "rb") as log:
            shutil.copyfileobj(log, file)
        write_json(self.out / "summary.json", dict(summary))

    def discard(self) -> None:
        """Remove the work area: the run is complete, or not worth resuming."""
        # First what says that there is something to resume, lest a kill in between leave half of it.
        (self.directory / "progress.json").unlink(missing_ok=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _part(self, number: int) -> Path:
        return self.directory / f"part-{number:08d}.parquet"

    @property
    def _log(self) -> Path:
        return self.directory / "rejects.jsonl"

    def _empty(self) -> None:
        for path in self.directory.iterdir():
            if path.name != "lock":
                path.unlink()
        self._log.touch()

    def _resume(self) -> None:
        path = self.directory / "progress.json"
        if not path.exists():
            self._empty()
            return
        try:
            stored = json.loads(path.read_text())
            progress, fingerprint = Progress(**stored["progress"]), stored["fingerprint"]
            if stored["version"] != _VERSION:
                raise ValueError(f"version {stored['version']}")
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: not the progress of a run ({error}); run again without --resume") from None
        for name in {**fingerprint, **self.fingerprint}:
            before, now = fingerprint.get(name), self.fingerprint.get(name)
            if before != now:
                raise InputError(
                    f"{self.out}: the run to resume had another {name} ({before!r}, now {now!r});"
                    " give it the same, or run again without --resume"
                )
        self.committed = progress
        for needed in (*self.committed_parts(), self.directory / str(progress.state)):
            if not needed.exists():
                raise InputError(f"{needed}: missing, although it was committed; run again without --resume")
        remove_unfinished(self.directory)
        self.roll_back()


def _locked(directory: Path) -> IO[str]:
    """The open lock file of a directory. Raises BlockingIOError where another process holds it, OSError."""
    end = time.monotonic() + _ENDING_SECONDS
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "lock"
        try:
            lock = open(path, "a+")  # noqa: SIM115 (held until close)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A run that ended a moment ago may have removed the file in between: then this lock locks nothing.
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        except FileNotFoundError:
            pass
        except BaseException as held:
            lock.close()
            if not isinstance(held, BlockingIOError) or time.monotonic() > end:
                raise
            time.sleep(0.05)
        lock.close()
