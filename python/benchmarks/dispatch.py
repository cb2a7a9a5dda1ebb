"""Tasks under fire: ``python -m benchmarks.dispatch --tasks 100000``.

Three dispatchers work through N tasks while their processes are killed at random with SIGKILL, and the ledger's as well
where the tasks are in an SQLite file. What counts is looked at from outside: every task must be done, with one result
that was recorded once; a result that was seen once must be there, unchanged, for ever after; and each must be that of
an attempt that left a line in the file of effects. Prints tasks per second, kills, recoveries, and what was lost or
doubled; the exit code is 1 where something was, or where it was not done in time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from sqlalchemy import Column, Integer, MetaData, String, Table, Text, create_engine, select

from cognitive_actors.cluster import ensure_ray_initialized
from cognitive_actors.dispatch import Claim, NewTask, QueueDispatcher, Reaper, Retries, TaskStore, open_store
from cognitive_actors.dispatch.work import Pace

#: Tasks that are enqueued at once.
_ENQUEUED = 2000

_tasks = Table(
    "dispatch_tasks",
    MetaData(),
    Column("id", String),
    Column("state", String),
    Column("token", Integer),
    Column("attempts", Integer),
    Column("completions", Integer),
    Column("result", Text),
)


def effect(claim: Claim) -> Any:
    """The handler: a line in a file, written at once; the result says which attempt it was."""
    file = os.open(claim.payload, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, f"{claim.id} {claim.token} {os.getpid()}\n".encode())
    finally:
        os.close(file)
    return [claim.token, os.getpid()]


@dataclass
class Outcome:
    """tasks: enqueued; done: of them; lost: not done, or whose recorded result was gone or changed; doubled: whose
    result was recorded more than once; unfounded: results of no attempt in the file of effects; again: attempts beyond
    the first that were worked on; kills of dispatchers and ledger; recoveries: processes that were there again; seconds:
    of the work, and of enqueueing before it."""

    tasks: int
    done: int = 0
    lost: int = 0
    doubled: int = 0
    unfounded: int = 0
    again: int = 0
    kills: int = 0
    ledger_kills: int = 0
    recoveries: int = 0
    seconds: float = 0.0
    enqueue_seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether everything was done once."""
        return self.done == self.tasks and not (self.lost or self.doubled or self.unfounded)


class Observer:
    """Looks at the tables by itself, and remembers each result that it has seen recorded."""

    def __init__(self, place: str) -> None:
        postgres = place.startswith("postgresql:")
        url = place.replace("postgresql:", "postgresql+psycopg:", 1) if postgres else f"sqlite:///{place}"
        self._engine = create_engine(url)
        self.seen: dict[str, str] = {}
        self.changed: set[str] = set()

    def look(self) -> None:
        """Remember what is recorded; what was recorded before must still be."""
        with self._engine.connect() as connection:
            found = connection.execute(select(_tasks.c.id, _tasks.c.result).where(_tasks.c.state == "done"))
            now = {i: result for i, result in found}
        self.changed |= {i for i, result in self.seen.items() if now.get(i) != result}
        self.seen |= now

    def judge(self, ids: list[str], effects: Path, outcome: Outcome) -> None:
        """Fill in what became of the tasks."""
        self.look()
        with self._engine.connect() as connection:
            rows = {row.id: row for row in connection.execute(select(_tasks))}
        lines = [line.split() for line in effects.read_text().splitlines()]
        worked_on = {(i, int(token), int(process)) for i, token, process in lines}
        done = [i for i in ids if i in rows and rows[i].state == "done"]
        outcome.done = len(done)
        outcome.lost = len(set(ids) - set(done) | self.changed)
        outcome.doubled = sum(rows[i].completions != 1 for i in done)
        outcome.unfounded = sum((i, *json.loads(rows[i].result)) not in worked_on for i in done)
        times = Counter(i for i, _, _ in lines)
        outcome.again = sum(times.values()) - len(times)
        self._engine.dispose()


def run(
    place: str, folder: Path, tasks: int, kills: int, ledger_kills: int, every: float, deadline: float, handler: str
) -> Outcome:
    """Enqueue tasks, work on them with three dispatchers, kill processes at random, and judge.

    kills, ledger_kills: how many at most; every: seconds between two of them, on average; deadline: seconds after which
    it is given up.
    """
    outcome, effects = Outcome(tasks), folder / "effects"
    effects.touch()
    name = f"benchmark-{os.getpid()}-{random.randrange(10**9)}"
    store = open_store(place, name=name)
    ledger = getattr(store, "_actor", None)
    pace = Pace(batch=256, idle=0.2, lease=10.0)
    surroundings = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}}
    begun = time.monotonic()
    retries = Retries(attempts=1000, first=0.01, most=0.1)
    ids: list[str] = []
    for start in range(0, tasks, _ENQUEUED):
        batch = [NewTask("effect", str(effects), retries=retries) for _ in range(min(_ENQUEUED, tasks - start))]
        ids += store.enqueue(batch)
    outcome.enqueue_seconds = time.monotonic() - begun
    options = {"num_cpus": 0, "runtime_env": surroundings}
    dispatchers = [
        QueueDispatcher.options(**options).remote(place, {"effect": handler}, pace, ledger=name)  # type: ignore[attr-defined]
        for _ in range(3)
    ]
    reaper = Reaper.options(**options).remote(place, 0.5, 3.0, ledger=name)  # type: ignore[attr-defined]
    begun = time.monotonic()
    try:
        _fire(store, dispatchers, ledger, Observer(place), outcome, (kills, ledger_kills), every, begun + deadline, ids, effects)
    finally:
        for actor in [*dispatchers, reaper, *([ledger] if ledger is not None else [])]:
            with suppress(RayError):
                ray.kill(actor)
        store.close()
    return outcome
