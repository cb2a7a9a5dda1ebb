"""Tasks that are worked on while the processes that do it are killed, and what became of them, seen from outside.

Every task must be done, with one result, recorded once; a result that was seen recorded must be there, unchanged, ever
after; and each must be that of an attempt that left a line in the file of effects.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatch_actors import HANDLERS, OFTEN, ended, kill, make, process_of
from ray.exceptions import RayError
from sqlalchemy import Column, Integer, MetaData, String, Table, Text, create_engine, func, select

from cognitive_actors.dispatch import NewTask, QueueDispatcher, Reaper, open_store
from cognitive_actors.dispatch.work import Pace

#: Tasks that are enqueued at once.
_ENQUEUED = 2000
# A dispatcher that is killed twice holds its tasks until it is there again, however long that takes.
_PACE = Pace(batch=256, idle=0.2, lease=60.0)

# As the tables are, and not as the package says: this is to find out whether it is right.
_tasks = Table(
    "dispatch_tasks",
    MetaData(),
    *(Column(name, String) for name in ("id", "state")),
    *(Column(name, Integer) for name in ("token", "attempts", "completions")),
    Column("result", Text),
)


@dataclass
class Outcome:
    """What became of the tasks.

    lost: tasks not done, and those whose recorded result was gone or changed later; doubled: those whose result was
    recorded more than once; unfounded: results of no attempt that left a line; again: lines beyond the first of a task,
    from attempts whose result was lost with their process; kills: of dispatchers and of the ledger; recoveries:
    processes that were there again; seconds: of enqueueing, and of the work,
    from when the dispatchers were asked for.
    """

    tasks: int
    done: int = 0
    lost: int = 0
    doubled: int = 0
    unfounded: int = 0
    again: int = 0
    dispatcher_kills: int = 0
    ledger_kills: int = 0
    recoveries: int = 0
    enqueue_seconds: float = 0.0
    work_seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether everything was done, once."""
        return self.done == self.tasks and not (self.lost or self.doubled or self.unfounded)


class Observer:
    """Reads the tables by itself, and remembers each result that it has seen recorded."""

    def __init__(self, place: str) -> None:
        postgres = place.startswith("postgresql:")
        url = place.replace("postgresql:", "postgresql+psycopg:", 1) if postgres else f"sqlite:///{place}"
        self._engine = create_engine(url)
        self._seen: dict[str, str] = {}
        self._changed: set[str] = set()

    def done(self) -> int:
        """How many tasks are done."""
        with self._engine.connect() as connection:
            return int(connection.scalar(select(func.count()).where(_tasks.c.state == "done")) or 0)

    def look(self) -> None:
        """Remember what is recorded; what was recorded before must still be."""
        with self._engine.connect() as connection:
            found = connection.execute(select(_tasks.c.id, _tasks.c.result).where(_tasks.c.state == "done"))
            now: dict[str, str] = {i: result for i, result in found}
        self._changed |= {i for i, result in self._seen.items() if now.get(i) != result}
        self._seen |= now

    def judge(self, ids: list[str], effects: Path, outcome: Outcome) -> None:
        """Fill in what became of the tasks."""
        self.look()
        with self._engine.connect() as connection:
            rows = {row.id: row for row in connection.execute(select(_tasks))}
        self._engine.dispose()
        lines = [line.split() for line in effects.read_text().splitlines()]
        worked_on = {(i, int(token), int(process)) for i, token, process in lines}
        done = [i for i in ids if i in rows and rows[i].state == "done"]
        outcome.done = len(done)
        outcome.lost = len((set(ids) - set(done)) | self._changed)
        outcome.doubled = sum(rows[i].completions != 1 for i in done)
        results = {i: json.loads(rows[i].result) for i in done}
        outcome.unfounded = sum((i, x["token"], x["process"]) not in worked_on for i, x in results.items())
        times = Counter(i for i, _, _ in lines)
        outcome.again = sum(times.values()) - len(times)


def under_fire(
    place: str,
    folder: Path,
    tasks: int,
    kills: int,
    ledger_kills: int,
    *,
    each: float = 0.0,
    seconds: float,
    seed: int = 0,
) -> Outcome:
    """Enqueue tasks, let three dispatchers work on them, kill processes as the work goes on, and judge.

    ledger_kills: where the place is a path; each: seconds that a task takes; seconds: after which it is given up;
    seed: of who is killed, and when.
    """
    outcome, effects, name = Outcome(tasks), folder / "effects", f"under-fire-{random.randrange(10**12)}"
    effects.touch()
    store = open_store(place, name=name)
    ledger = getattr(store, "ledger", None)
    ids: list[str] = []
    begun = time.monotonic()
    for first in range(0, tasks, _ENQUEUED):
        count, payload = min(_ENQUEUED, tasks - first), {"effects": str(effects), "seconds": each}
        ids += store.enqueue(NewTask("effect", payload, retries=OFTEN) for _ in range(count))
    outcome.enqueue_seconds = time.monotonic() - begun
    with ended(*([ledger] if ledger is not None else [])):
        begun = time.monotonic()
        dispatchers = [make(QueueDispatcher, place, HANDLERS, _PACE, ledger=name) for _ in range(3)]
        with ended(make(Reaper, place, 0.5, 3.0, ledger=name), *dispatchers):
            observer, chance = Observer(place), random.Random(seed)
            targets = [*(chance.choice(dispatchers) for _ in range(kills))]
            targets += [ledger] * (ledger_kills if ledger is not None else 0)
            chance.shuffle(targets)
            killed = _fire(observer, targets, tasks, begun + seconds, chance)
            outcome.work_seconds = time.monotonic() - begun
            outcome.ledger_kills = sum(actor is ledger for actor, _ in killed)
            outcome.dispatcher_kills = len(killed) - outcome.ledger_kills
            outcome.recoveries = sum(_came_back(actor, pid) for actor, pid in killed)
            observer.judge(ids, effects, outcome)
    store.close()
    return outcome


def _fire(
    observer: Observer, targets: list[Any], tasks: int, end: float, chance: random.Random
) -> list[tuple[Any, int]]:
    """Kill the targets in turn as the tasks get done, and wait until all are; who was killed, and its process then."""
    # In the first nine tenths, so that there is work left to do after each.
    moments = sorted(chance.uniform(0.02, 0.9) * tasks for _ in targets)
    waiting, killed = list(zip(moments, targets, strict=True)), list[tuple[Any, int]]()
    while time.monotonic() < end:
        done = observer.done()
        if done >= tasks:
            break
        if waiting and done >= waiting[0][0]:
            _, actor = waiting.pop(0)
            observer.look()
            with suppress(RayError):
                killed.append((actor, kill(actor)))
        time.sleep(0.05)
    return killed


def _came_back(actor: Any, pid: int) -> bool:
    try:
        return process_of(actor) != pid
    except RayError:
        return False
