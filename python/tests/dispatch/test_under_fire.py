"""Nothing is lost and nothing counts twice, whoever is killed in the midst of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update
from under_fire import Observer, Outcome, under_fire

from cognitive_actors.dispatch import NewTask, Owner, SqlTaskStore
from cognitive_actors.dispatch.schema import tasks

TASKS, KILLS, LEDGER_KILLS = 2000, 3, 1


@pytest.mark.usefixtures("embedded_ray")
def test_every_task_is_done_once_though_processes_are_killed(place: str, tmp_path: Path) -> None:
    outcome = under_fire(place, tmp_path, TASKS, KILLS, LEDGER_KILLS, each=0.01, seconds=600.0)
    assert outcome.good, outcome
    # It was tried: they were killed, and came back.
    killed = outcome.dispatcher_kills + outcome.ledger_kills
    assert killed == outcome.recoveries >= KILLS, outcome


def _change(statement: Any, connection: Connection) -> None:
    connection.execute(statement)


def test_the_observer_notices_what_is_lost_doubled_or_made_up(place: str, tmp_path: Path) -> None:
    store, effects = SqlTaskStore(place), tmp_path / "effects"
    ids = store.enqueue([NewTask("x") for _ in range(4)])
    claims = store.claim(Owner("a", "1"), ["x"], 4, 600)
    store.complete([(c, {"token": c.token, "process": 7}) for c in claims[:3]])
    effects.write_text(f"{ids[0]} 1 7\n{ids[0]} 1 7\n{ids[1]} 1 7\n")
    observer = Observer(place)
    observer.look()
    assert observer.done() == 3
    made_up = json.dumps({"token": 1, "process": 8})
    for i, change in ((ids[0], {"completions": 2}), (ids[1], {"result": made_up})):
        store._db.change(partial(_change, update(tasks).where(tasks.c.id == i).values(change)))
    outcome = Outcome(4)
    observer.judge(ids, effects, outcome)
    # One is not done, and one has another result than before, of no attempt; so has the one that left no line.
    assert (outcome.done, outcome.lost, outcome.doubled, outcome.unfounded, outcome.again) == (3, 2, 1, 2, 1)
    assert not outcome.good and Outcome(0).good
    store.close()
