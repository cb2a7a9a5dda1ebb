"""Files of stimuli through a population on Ray: in order for every agent, in bounded memory, nothing lost.

Chunks are read, sent to the shards of their agents and written in order; a few are under way at a time, so that
reading, thinking and writing overlap. Every few seconds the state of all agents is committed together with what was
written. A run that was killed, or that lost an actor, goes on from there and ends with the same output.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal


from ..cluster import ClusterError
from ..core.cycle import CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk
from ..files.batch import Batch, Reject
from ..files.errors import InputError
from ..files.models import load_model
from ..files.stimuli import CHUNK, count_stimuli, read_stimuli
from .identity import LATE_IDS, IdIndex
from .shards import Arrays, Pending, ShardLost, Shards, default_count
from .summary import summarize
from .table import schema, table
from .workarea import WorkArea, fingerprint_file

#: Chunks sent ahead of the one that is waited for.
AHEAD = 2
#: A run that loses its actors this often without committing anything in between gives up.
MAX_LOSSES = 3

OnError = Literal["fail", "skip"]


class RejectedInput(InputError):
    """A bad record under ``on_error="fail"``."""

    def __init__(self, reject: Reject) -> None:
        super().__init__(f"{reject.file}:{reject.line}: {reject.reason}")
        self.reject = reject


@dataclass(frozen=True)
class RunRequest:
    """What to run. on_error: stop at the first bad record, or put bad records into rejects.jsonl and go on;
    shards: actors (one per CPU of the cluster by default); commit_seconds: how much work a crash may cost."""

    paths: Sequence[Path]
    model: Path
    out: Path
    on_error: OnError = "fail"
    resume: bool = False
    settings: CycleSettings = field(default_factory=CycleSettings)
    shards: int | None = None
    device: str = "cpu"
    chunk: int = CHUNK
    commit_seconds: float = 10.0


@dataclass(frozen=True)
class Advance:
    """For a progress bar: records done, records in all, results and rejects so far."""

    done: int
    total: int
    results: int
    rejects: int


def run(request: RunRequest, progress: Callable[[Advance], None] = lambda _: None) -> dict[str, Any]:
    """Run the pipeline on the connected cluster and publish its output; returns the summary.

    Raises InputError (ModelError for the model) where the input or the output directory is not usable, and
    ClusterError where the cluster has no room or keeps losing actors. Output of earlier runs is replaced only
    when everything has succeeded.
    """
    model = load_model(request.model)
    total = count_stimuli(request.paths, model)
    with WorkArea(request.out, _fingerprint(request), resume=request.resume) as area:
        begin = time.monotonic()
        resumed_at = area.committed.position
        losses, committed = 0, area.committed.position
        while True:
            try:
                _Attempt(request, model, area, total, progress).run()
                break
            except ShardLost as loss:
                losses = losses + 1 if area.committed.position == committed else 1
                committed = area.committed.position
                if losses >= MAX_LOSSES:
                    raise ClusterError(
                        f"an actor died {losses} times between records {committed} and {committed + request.chunk}:"
                        f" {loss}; look for its reason in Ray's logs, then run again with --resume"
                    ) from loss
                area.roll_back()
            except RejectedInput:
                area.discard()
                raise
        seconds = time.monotonic() - begin
        counts = {
            "records": area.committed.position,
            "results": area.committed.results,
            "rejects": area.committed.rejects,
            "resumed_at": resumed_at,
            "actor_losses": losses,
            "seconds": round(seconds, 3),
            "stimuli_per_second": round((area.committed.position - resumed_at) / seconds, 1),
        }
        summary = {**counts, **summarize(area.committed_parts(), model)}
        area.publish(schema(model), summary)
        area.discard()
    return summary


class _Attempt:
    """One pass from the last commit to the end of the input, or to the loss of an actor."""

    def __init__(
        self,
        request: RunRequest,
        model: GenerativeModel,
        area: WorkArea,
        total: int,
        progress: Callable[[Advance], None],
    ) -> None:
        self.request, self.model, self.area = request, model, area
        self.total, self.progress = total, progress
        self.shards = Shards(
            model, request.settings, request.shards or default_count(), device=request.device, snapshot=area.state()
        )
        self.ids = IdIndex(area.directory / "ids.sqlite", area.committed_parts())
        self.under_way: deque[tuple[Batch, tuple[Reject, ...], Pending]] = deque()
        self.last_commit = time.monotonic()

    def run(self) -> None:
        try:
            reader = read_stimuli(
                self.request.paths, self.model, chunk=self.request.chunk, skip=self.area.committed.position
            )
            for batch in reader:
                due = time.monotonic() - self.last_commit >= self.request.commit_seconds
                self._send(batch, commit=due or batch.position == self.total)
                if len(self.under_way) > AHEAD:
                    self._finish()
            while self.under_way:
                self._finish()
        finally:
            self.ids.close()
            self.shards.stop()

    def _send(self, batch: Batch, *, commit: bool) -> None:
        repeated = set(self.ids.add(batch.ids))
        rejects = batch.rejects
        if repeated:
            rejects += tuple(_reject(batch, i, f"id {batch.ids[i]!r} was read before; give each record an id of its own") for i in repeated)
            batch = _keep(batch, [i for i in range(len(batch)) if i not in repeated])
        self._refuse(rejects)
        if commit:
            self.last_commit = time.monotonic()
        chunk = Chunk(batch.agents, batch.time, batch.observations, batch.delta)
        self.under_way.append((batch, rejects, self.shards.submit(chunk, snapshot=commit)))

    def _finish(self) -> None:
        batch, rejects, pending = self.under_way.popleft()
        columns: Arrays
        columns, state = self.shards.collect(pending)
        late = columns["late"].nonzero()[0] if columns else ()
        rejects += tuple(
            _reject(batch, i, f"time runs backwards for agent {batch.agents[i]!r}; sort each agent's records by time")
            for i in late
        )
        self._refuse(rejects)
        rows = table(self.model, batch.ids, batch.agents, columns) if columns else schema(self.model).empty_table()
        if len(late):
            rows = rows.replace_schema_metadata({LATE_IDS: json.dumps([batch.ids[i] for i in late])})
        self.area.add(rows, sorted(rejects, key=lambda r: r.line), batch.position)
        if state is not None:
            self.area.commit(state)
        current = self.area.current
        self.progress(Advance(current.position, self.total, current.results, current.rejects))

    def _refuse(self, rejects: tuple[Reject, ...]) -> None:
        if rejects and self.request.on_error == "fail":
            raise RejectedInput(min(rejects, key=lambda r: r.line))


def _reject(batch: Batch, i: int, reason: str) -> Reject:
    return Reject(batch.source, int(batch.lines[i]), reason, batch.ids[i])


def _keep(batch: Batch, kept: list[int]) -> Batch:
    return Batch(
        source=batch.source,
        ids=[batch.ids[i] for i in kept],
        agents=[batch.agents[i] for i in kept],
        time=batch.time[kept],
        observations=batch.observations[kept],
        delta=batch.delta[kept],
        lines=batch.lines[kept],
        rejects=batch.rejects,
        start=batch.start,
        position=batch.position,
    )


def _fingerprint(request: RunRequest) -> dict[str, Any]:
    try:
        files = [fingerprint_file(Path(path)) for path in request.paths]
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; write the path of a file that can be read") from None
    return {
        "input": files,
        "model": fingerprint_file(request.model),
        "settings": _plain(request.settings),
        "chunk size": request.chunk,
        "--on-error": request.on_error,
    }


def _plain(value: Any) -> Any:
    """Nested settings as what JSON can hold."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(x) for x in value]
    return str(value) if isinstance(value, float) else value


