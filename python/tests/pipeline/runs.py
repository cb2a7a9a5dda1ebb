"""Runs of the pipeline, and what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from conftest import EXAMPLES

from cognitive_actors.pipeline.run import Advance, RunRequest


def request(out: Path, *paths: Path, **changes: Any) -> RunRequest:
    """A request for files, unless changed: the umbrella model and one shard."""
    return RunRequest(**{"paths": paths, "model": EXAMPLES / "umbrella.yaml", "out": out, "shards": 1, **changes})


def results(out: Path) -> pa.Table:
    return pq.read_table(out / "results.parquet")


def rejects(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]


def contents(out: Path) -> dict[str, bytes]:
    """The output files, byte by byte."""
    return {path.name: path.read_bytes() for path in sorted(out.iterdir()) if path.is_file()}


def at(done: int, act: Callable[[], object]) -> Callable[[Advance], None]:
    """A progress callback that acts once, when at least ``done`` records are done."""
    waiting = [act]

    def look(advance: Advance) -> None:
        if advance.done >= done and waiting:
            waiting.pop()()

    return look


def interrupt() -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt
