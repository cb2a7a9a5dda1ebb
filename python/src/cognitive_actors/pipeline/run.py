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
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ..cluster import ClusterError, ensure_ray_initialized
from ..core.cycle import CognitiveCycle, CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk, Roster
from ..files.batch import Batch, Reject
from ..files.errors import InputError
from ..files.models import load_model
from ..files.stimuli import CHUNK, count_stimuli, read_stimuli
from .fingerprint import fingerprint_file, fingerprint_settings
from .identity import LATE_IDS, IdIndex
from .shards import Pending, Shards, default_count
from .summary import summarize
from .supervision import ActorLost
from .table import schema, table
from .workarea import WorkArea

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
    shards: actors (one per CPU of the cluster by default); commit_seconds: how much work a crash may cost; address:
    the cluster, as :func:`ensure_ray_initialized` takes it."""

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
    address: str | None = None


@dataclass(frozen=True)
class Advance:
    """For a progress bar: records done, of them committed, records in all, results and rejects so far."""

    done: int
    committed: int
    total: int
    results: int
    rejects: int


def run(request: RunRequest, progress: Callable[[Advance], None] = lambda _: None) -> dict[str, Any]:
    """Run the pipeline and publish its output; returns the summary. Connects to Ray where this process is not.

    Raises InputError (ModelError for the model) where the input or the output directory is not usable, ValueError for
    settings that do not fit the model, and ClusterError where the cluster has no room or keeps losing actors. Output
    of earlier runs is replaced only when everything has succeeded.
    """
    model = load_model(request.model)
    _check_device(request.device)
    # What an actor would refuse is refused here, before anything is started.
    Roster(CognitiveCycle(model, request.settings))
    total = count_stimuli(request.paths, model)
    with WorkArea(request.out, _fingerprint(request), resume=request.resume) as area:
        ensure_ray_initialized(request.address)
        begin, resumed_at = time.monotonic(), area.committed.position
        try:
            losses = _persist(request, model, area, total, progress)
        except RejectedInput:
            area.discard()
            raise
        seconds = time.monotonic() - begin
        done = area.committed
        summary = {
            "records": done.position,
            "results": done.results,
            "rejects": done.rejects,
            "resumed_at": resumed_at,
            "actor_losses": losses,
            "seconds": round(seconds, 3),
            "stimuli_per_second": round((done.position - resumed_at) / seconds, 1),
            **summarize(area.committed_parts(), model),
        }
        area.publish(schema(model), summary)
        area.discard()
    return summary


def _persist(
    request: RunRequest, model: GenerativeModel, area: WorkArea, total: int, progress: Callable[[Advance], None]
) -> int:
    """Attempts until one reaches the end of the input; returns how many lost an actor."""
    losses = in_vain = 0
    committed = area.committed.position
    while True:
        try:
            _Attempt(request, model, area, total, progress).run()
            return losses
        except ActorLost as loss:
            losses += 1
            in_vain = in_vain + 1 if area.committed.position == committed else 1
            committed = area.committed.position
            if in_vain >= MAX_LOSSES:
                raise ClusterError(
                    f"actors died {in_vain} times after record {committed} of {total} before anything more could be"
                    f" committed: {loss}; look for the reason in Ray's logs, then run again with --resume"
                ) from loss
            area.roll_back()


class _Attempt:
    """One pass from the last commit to the end of the input, or to the loss of an actor."""

    ids: IdIndex
    shards: Shards

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
        self.under_way: deque[tuple[Batch, tuple[Reject, ...], Pending]] = deque()

    def run(self) -> None:
        request, area = self.request, self.area
        count = request.shards or default_count(request.device)
        with (
            closing(IdIndex(area.directory / "ids.sqlite", area.committed_parts())) as self.ids,
            Shards(self.model, request.settings, count, device=request.device, snapshot=area.state()) as self.shards,
        ):
            self._report()
            # The first chunk is committed at once: an attempt that is cut short soon has got somewhere.
            self.last_commit = time.monotonic() - request.commit_seconds
            for batch in read_stimuli(request.paths, self.model, chunk=request.chunk, skip=area.committed.position):
                self._send(batch, commit=time.monotonic() - self.last_commit >= request.commit_seconds)
                if len(self.under_way) > AHEAD:
                    self._finish()
            while self.under_way:
                self._finish()
            if area.current != area.committed:
                area.commit(self.shards.snapshot())
        if area.committed.position != self.total:
            raise InputError(
                f"the input had {self.total} records when the run began and {area.committed.position} when it was read;"
                " run again when nothing writes to it"
            )

    def _send(self, batch: Batch, *, commit: bool) -> None:
        rejects = batch.rejects
        repeated = self.ids.add(batch.ids)
        if repeated:
            rejects += tuple(
                _reject(batch, i, f"id {batch.ids[i]!r} was read before; give each record an id of its own")
                for i in repeated
            )
            batch = _without(batch, repeated)
        if commit:
            self.last_commit = time.monotonic()
        chunk = Chunk(batch.agents, batch.time, batch.observations, batch.delta)
        self.under_way.append((batch, rejects, self.shards.submit(chunk, snapshot=commit)))

    def _finish(self) -> None:
        batch, rejects, pending = self.under_way.popleft()
        columns, state = self.shards.collect(pending)
        late = columns["late"].nonzero()[0].tolist() if columns else []
        rejects += tuple(
            _reject(batch, i, f"time runs backwards for agent {batch.agents[i]!r}; sort each agent's records by time")
            for i in late
        )
        # Here, not where they are read: chunks come back in order, so it is the first bad record that is reported.
        if rejects and self.request.on_error == "fail":
            raise RejectedInput(min(rejects, key=lambda r: r.line))
        rows = table(self.model, batch.ids, batch.agents, columns) if columns else schema(self.model).empty_table()
        if late:
            rows = rows.replace_schema_metadata({LATE_IDS: json.dumps([batch.ids[i] for i in late])})
        self.area.add(rows, sorted(rejects, key=lambda r: r.line), batch.position)
        if state is not None:
            self.area.commit(state)
        self._report()

    def _report(self) -> None:
        current, committed = self.area.current, self.area.committed
        self.progress(Advance(current.position, committed.position, self.total, current.results, current.rejects))


def _reject(batch: Batch, i: int, reason: str) -> Reject:
    return Reject(batch.source, int(batch.lines[i]), reason, batch.ids[i])


def _without(batch: Batch, positions: Sequence[int]) -> Batch:
    left_out = set(positions)
    kept = [i for i in range(len(batch)) if i not in left_out]
    return replace(
        batch,
        ids=[batch.ids[i] for i in kept],
        agents=[batch.agents[i] for i in kept],
        time=batch.time[kept],
        observations=batch.observations[kept],
        delta=batch.delta[kept],
        lines=batch.lines[kept],
    )


def _fingerprint(request: RunRequest) -> dict[str, Any]:
    """What a run that is resumed must have in common with the one that was interrupted."""
    try:
        return {
            "input": [fingerprint_file(Path(path)) for path in request.paths],
            "model": fingerprint_file(request.model),
            "chunk size": request.chunk,
            "--on-error": request.on_error,
            **fingerprint_settings(request.settings),
        }
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; write the path of a file that can be read") from None


def _check_device(device: str) -> None:
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise InputError(f"device is {device!r}; write cpu or cuda")
