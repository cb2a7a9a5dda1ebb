"""The pipeline on Ray beside the core alone in one process."""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray

from ..actors.process import prepare_process
from ..core.cycle import CognitiveCycle, CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk, Roster
from ..files.results import concatenate, write_part
from ..files.stimuli import read_stimuli
from ..pipeline.examples import example_model
from ..pipeline.online import Session
from ..pipeline.run import AHEAD, RunRequest, run
from ..pipeline.shards import Shards, default_count
from ..pipeline.table import schema, table
from .measure import paired, seconds
from .workload import chunks, example, write_jsonl

#: The batch of one cognitive cycle, and the stimuli of one chunk.
AGENTS, CHUNK, CHUNKS = 1024, 8192, 12
#: Chunks of the file-to-file run: long enough that starting actors does not decide.
FILE_CHUNKS = 60


@dataclass(frozen=True)
class Row:
    """One line of the table. ``verdict`` holds the promise, if there is one, and whether it was kept."""

    metric: str
    single: str
    cluster: str
    verdict: str = ""


def measure(rounds: int = 5) -> list[Row]:
    """All rows, on the connected cluster. Takes about a minute."""
    # The core alone under the same conditions as in an actor.
    prepare_process()
    model = example()
    return [
        *(_throughput(model, shards, rounds) for shards in sorted({1, default_count()})),
        _files(model, max(3, rounds // 2)),
        *_latency(model, 200 * rounds),
    ]


def _throughput(model: GenerativeModel, shards: int, rounds: int) -> Row:
    """Prepared chunks: the same batches in this process and through actors."""
    # Each shard sees batches of AGENTS, as the core alone does.
    work = [_timeless(c) for c in chunks(model, AGENTS * shards, CHUNK * shards, CHUNKS)]
    alone = [_timeless(c) for c in chunks(model, AGENTS, CHUNK, CHUNKS)]
    roster = Roster(CognitiveCycle(model, CycleSettings()))
    population = Shards(model, CycleSettings(), shards)
    try:
        pair = paired(lambda: [roster.process(c) for c in alone], lambda: _through(population, work), rounds)
    finally:
        population.stop()
    # The actors had ``shards`` times the work, so the ratio of times is multiplied by that.
    share = pair.ratio * shards
    kept = "kept" if share >= 0.6 else "MISSED"
    return Row(
        f"stimuli/s, prepared, batches of {AGENTS}, {shards} actor{'s' * (shards > 1)}",
        f"{CHUNK * CHUNKS / pair.first:,.0f}",
        f"{CHUNK * CHUNKS * shards / pair.second:,.0f}",
        f"{share:.0%} of the core alone; promised 60 %: {kept}",
    )


def _through(shards: Shards, work: list[Chunk]) -> None:
    under_way: deque[Any] = deque()
    for chunk in work:
        under_way.append(shards.submit(chunk, snapshot=False))
        if len(under_way) > AHEAD:
            shards.collect(under_way.popleft())
    while under_way:
        shards.collect(under_way.popleft())


def _files(model: GenerativeModel, rounds: int) -> Row:
    """From a JSONL file to a Parquet file, everything included, in one process and through the pipeline."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        source = directory / "stimuli.jsonl"
        count = write_jsonl(source, model, AGENTS, CHUNK * FILE_CHUNKS)
        fresh = (directory / f"run-{i}" for i in itertools.count())

        def alone() -> None:
            roster, out = Roster(CognitiveCycle(model, CycleSettings())), next(fresh)
            out.mkdir()
            parts = []
            for i, b in enumerate(read_stimuli([source], model, chunk=CHUNK)):
                columns = roster.process(Chunk(b.agents, b.time, b.observations, b.delta))
                parts.append(out / f"{i}.parquet")
                write_part(parts[-1], table(model, b.ids, b.agents, columns))
            concatenate(parts, out / "results.parquet", schema=schema(model))

        def pipeline() -> None:
            run(RunRequest(paths=[source], model=example_model(), out=next(fresh)))

        pair = paired(alone, pipeline, rounds)
    return Row(
        "stimuli/s, JSONL to Parquet",
        f"{count / pair.first:,.0f}",
        f"{count / pair.second:,.0f}",
        f"{pair.ratio:.2f}x; starting the actors included",
    )


def _latency(model: GenerativeModel, calls: int) -> list[Row]:
    """One stimulus at a time: the core, a bare actor, and the online call, in turn."""
    stimulus = {"agent": "a", "observation": {"weather": "rain", "temperature": "cold", "wind": "calm"}}
    observed = np.array([[1, 0, 0, -1]])
    chunk = Chunk(["a"], np.array([np.nan]), observed, np.zeros((1, 5)))
    roster = Roster(CognitiveCycle(model, CycleSettings()))
    bare = _Bare.remote()  # type: ignore[attr-defined]
    core: list[float] = []
    trip: list[float] = []
    online: list[float] = []
    with Session(model) as session:
        for i in range(calls + 50):
            times = (
                seconds(lambda: roster.process(chunk)),
                seconds(lambda: ray.get(bare.echo.remote(stimulus))),
                seconds(lambda: session.step(stimulus)),
            )
            if i >= 50:
                for series, value in zip((core, trip, online), times, strict=True):
                    series.append(value)
    ray.kill(bare)
    alone, there, whole = (statistics.median(x) * 1e3 for x in (core, trip, online))
    overhead = statistics.median(o - c for o, c in zip(online, core, strict=True)) * 1e3
    kept = "kept" if overhead <= 2 * there else "MISSED"
    return [
        Row("one stimulus online, ms", f"{alone:.2f}", f"{whole:.2f}", ""),
        Row("bare Ray actor round trip, ms", "–", f"{there:.2f}", ""),
        Row(
            "overhead of an online call, ms",
            "–",
            f"{overhead:.2f}",
            f"{overhead / there:.2f} round trips; promised 2: {kept}",
        ),
    ]


@ray.remote(num_cpus=0)
class _Bare:
    def echo(self, x: Any) -> Any:
        return x


def _timeless(chunk: Chunk) -> Chunk:
    """The chunk without times, so that it can be run again."""
    return Chunk(chunk.names, np.full(len(chunk.names), np.nan), chunk.observations, chunk.delta)
