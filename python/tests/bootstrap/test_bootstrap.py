"""``bootstrap`` on real Ray: what is missing comes, what lives stays, what will not do goes without losing a task."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from bootstraps import (
    SURROUNDINGS,
    actions,
    actor,
    answer,
    done,
    of,
    process_of,
    requested,
    whys,
)
from waiting import until

from cognitive_actors.bootstrap import crew
from cognitive_actors.bootstrap.modes import Mode
from cognitive_actors.bootstrap.run import Request
from cognitive_actors.bootstrap.waiting import NotUp
from cognitive_actors.cluster.settings import default_namespace
from cognitive_actors.dispatch import NewTask, QueueDispatcher, Reaper, TaskStore, open_store
from cognitive_actors.dispatch.work import Pace
from cognitive_actors.serve.population import shared_population

pytestmark = pytest.mark.usefixtures("embedded_ray")


@pytest.fixture(scope="module")
def everything(embedded_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Request]:
    """What a bootstrap has brought; each test disturbs it, and has it brought back."""
    with requested(tmp_path_factory.mktemp("tasks")) as request:
        report = done(request)
        assert set(actions(report).values()) == {"started"}
        yield request


@pytest.fixture
def workers(everything: Request) -> Request:
    """The same, for those who work on tasks alone."""
    return replace(everything, mode=Mode.dispatchers)


def names_of(request: Request) -> set[str]:
    names = request.names
    numbered = {f"{names.dispatcher}-{number}" for number in range(request.dispatchers)}
    shared = {names.state, names.streams, names.routes}
    return {request.actor, f"{request.actor}-lifecycle", *shared, *numbered, names.reaper}


def store_of(request: Request) -> TaskStore:
    return open_store(request.tasks, default_namespace(), request.names.ledger)


def by_hand(kind: Any, called: str, *arguments: Any, **options: Any) -> Any:
    """An actor as somebody else has made it, once it works."""
    surroundings = {"name": called, "namespace": default_namespace(), "lifetime": "detached", "num_cpus": 0}
    made = kind.options(**surroundings, runtime_env=SURROUNDINGS).remote(*arguments, **options)
    answer(made.ready.remote())
    return made


def end(name: str) -> None:
    """End an actor for good, as `ray.kill` does, and wait until it has lost its name."""
    ray.kill(actor(name))

    def gone() -> bool:
        with suppress(ValueError):
            actor(name)
            return False
        return True

    until(gone, "the end")


def test_again_it_changes_nothing(everything: Request) -> None:
    before = of(everything)
    reports = [done(everything) for _ in range(2)]
    assert of(everything) == before and set(before) == names_of(everything) | {everything.names.ledger}
    for report in reports:
        assert actions(report) == dict.fromkeys(names_of(everything), "kept") and whys(report) == {}
        assert (report["mode"], report["namespace"]) == ("all", default_namespace())
        assert report["address"] == ray.get_runtime_context().gcs_address
    tasks, store = [report["task"] for report in reports], store_of(everything)
    assert tasks[0]["id"] != tasks[1]["id"]
    for task in tasks:
        stored = store.get(task["id"])
        assert stored is not None and (stored.state, stored.completions, stored.kind) == ("done", 1, task["kind"])
        assert stored.owner is not None and stored.owner.name == task["by"] and task["by"] in before
        assert store.result(task["id"]) == task["result"] and {"surprise", "free_energy"} <= set(task["result"])
    # It was advice: no agent has come to be.
    assert answer(actor(everything.actor).ready.remote())["agents"] == 0


def test_one_that_ray_begins_again_is_kept(workers: Request) -> None:
    name, before = f"{workers.names.dispatcher}-0", of(workers)
    incarnation = answer(actor(name).status.remote())["incarnation"]
    os.kill(process_of(actor(name)), signal.SIGKILL)
    report = done(workers)
    assert set(actions(report).values()) == {"kept"} and of(workers) == before
    assert answer(actor(name).status.remote())["incarnation"] != incarnation
    assert report["task"]["kind"] == "probe" and report["task"]["result"]["pid"] in {
        process_of(actor(f"{workers.names.dispatcher}-{number}")) for number in range(2)
    }


def test_what_was_ended_is_started(everything: Request) -> None:
    ended = {f"{everything.names.dispatcher}-1", everything.names.reaper, everything.names.state, everything.actor}
    before = of(everything)
    for name in ended:
        end(name)
    found = actions(done(everything))
    assert {name for name, action in found.items() if action == "started"} == ended
    assert {name for name, action in found.items() if action == "kept"} == names_of(everything) - ended
    assert {name for name, number in of(everything).items() if before[name] != number} == ended


def test_surplus_gives_back_what_it_holds(workers: Request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "STOP_SECONDS", 0.5)
    store, before = store_of(workers), of(workers)
    name = f"{workers.names.dispatcher}-7"
    ids = store.enqueue([NewTask("begins", str(tmp_path / f"begun-{number}")) for number in range(4)])
    by_hand(QueueDispatcher, name, store, {"begins": "slow_handlers:begins"}, Pace(lease=600.0, idle=0.1), name)
    until((tmp_path / "begun-0").exists, "the first attempt")
    assert {store.get(i).state for i in ids} == {"leased"}  # type: ignore[union-attr]
    report = done(workers)
    assert actions(report)[name] == "ended" and set(whys(report)) == {name}
    assert of(workers) == before
    # Given back, and not lost with who held them: no attempt has been counted.
    found = [store.get(i) for i in ids]
    assert [(task.state, task.attempts) for task in found if task is not None] == [("queued", 0)] * 4
    store.cancel(ids)


def test_who_was_made_for_something_else_is_replaced(workers: Request, tmp_path: Path) -> None:
    store, names = store_of(workers), workers.names
    zero, one = f"{names.dispatcher}-0", f"{names.dispatcher}-1"
    end(zero)
    by_hand(QueueDispatcher, zero, store, {"begins": "slow_handlers:begins"}, name=zero)
    end(names.reaper)
    elsewhere = open_store(tmp_path / "elsewhere.db", default_namespace(), f"other-{names.ledger}")
    by_hand(Reaper, names.reaper, elsewhere)
    answer(actor(one).stop.remote())
    report = done(workers)
    assert set(actions(report).values()) == {"replaced"}
    assert "begins by slow_handlers:begins, not" in whys(report)[zero]
    assert whys(report)[names.reaper].endswith(f"elsewhere.db, not {workers.tasks}")
    assert whys(report)[one] == "it had been told to stop"
    assert set(actions(done(workers)).values()) == {"kept"}
    # Where nobody says what is to be forgotten, the reaper is left to do as it does.
    forgetful = done(replace(workers, forget=3600.0))
    assert whys(forgetful) == {names.reaper: "it was made for other forget: none, not 3600.0"}
    assert set(actions(done(workers)).values()) == {"kept"}


def test_one_that_hangs_is_replaced(workers: Request) -> None:
    name = f"{workers.names.dispatcher}-0"
    before, process = of(workers)[name], process_of(actor(name))
    os.kill(process, signal.SIGSTOP)
    try:
        report = done(replace(workers, timeout=90.0))
    finally:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    assert actions(report)[name] == "replaced" and whys(report)[name] == "it did not answer"
    assert of(workers)[name] != before


def test_agents_that_were_stopped_are_begun_again(everything: Request) -> None:
    organism = replace(everything, mode=Mode.organism)
    population = shared_population(actor=everything.actor)
    until(lambda: asyncio.run(population.stop()) == "not initialised", "the end of the agents")
    report = done(organism)
    assert [name for name, action in actions(report).items() if action == "started"] == [everything.actor]
    assert whys(report) == {everything.actor: "they had been stopped"}
    assert report["task"]["by"] == everything.actor and "free_energy" in report["task"]["result"]
    assert asyncio.run(population.phase(180.0))[0] == "ready"
    assert set(actions(done(organism)).values()) == {"kept"}


@pytest.mark.parametrize("when", ["streams", "reaper"])
def test_what_was_cut_short_is_completed(tmp_path: Path, when: str) -> None:
    with requested(tmp_path) as request:
        last = getattr(request.names, when)

        def interrupted() -> None:
            if last in of(request):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            done(request, interrupted)
        before = of(request)
        assert last in before
        found = actions(done(request))
        assert set(found) == names_of(request)
        assert {number for name, number in of(request).items() if name in before} == set(before.values())


def test_an_actor_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Named here, and not where the actors run.
    monkeypatch.setenv("COGNITIVE_CHECKPOINTS", str(tmp_path))
    with requested(tmp_path, mode=Mode.organism) as request, pytest.raises(NotUp) as refused:
        done(request)
    assert str(refused.value).startswith(f"lifecycle: the actor '{request.actor}-lifecycle' did not come up within")
    assert "no store is named where the actor runs; set COGNITIVE_CHECKPOINTS" in str(refused.value)


def test_tasks_that_cannot_be_reached(tmp_path: Path) -> None:
    with requested(tmp_path, tasks="postgresql://nobody:secret@127.0.0.1:1/none", mode=Mode.dispatchers) as request:
        with pytest.raises(NotUp, match=r"the tasks cannot be reached: .*127\.0\.0\.1:1/none") as refused:
            done(request)
        assert "secret" not in str(refused.value) and refused.value.report["reconciled"] == []
        assert of(request) == {}


def test_what_is_no_request() -> None:
    for options, said in (
        ({"dispatchers": 0}, "dispatchers is 0; write 1 or more"),
        ({"timeout": float("nan")}, "timeout is nan s"),
        ({"timeout": 0.0}, "timeout is 0.0 s"),
        ({"forget": -1.0}, r"forget is -1\.0; write seconds"),
    ):
        with pytest.raises(ValueError, match=said):
            Request(**options)


def test_nothing_is_changed_where_the_request_is_wrong(tmp_path: Path) -> None:
    for options, said in (
        ({"tasks": "tasks.db"}, "write an absolute path on the head, or postgresql://USER@HOST/DATABASE"),
        ({"tasks": "mysql://a:secret@b/c"}, "names no place that all replicas share"),
        ({"model": "nowhere.yaml"}, "nowhere.yaml"),
    ):
        with requested(tmp_path, **options) as request:
            with pytest.raises(ValueError, match=said):
                done(request)
            assert of(request) == {}


def test_it_needs_none_of_the_packages_that_serving_needs() -> None:
    missing = "".join(f"sys.modules[{name!r}] = None; " for name in ("fastapi", "pydantic", "starlette", "ray.serve"))
    code = f"import sys; {missing}import cognitive_actors.bootstrap.run"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stderr
