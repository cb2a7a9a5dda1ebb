"""Tasks of ``/pipeline`` when processes are lost, agents are away, or nobody works: in this process, on real Ray."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
import ray
from pipeline_requests import ended, place, task
from ray.exceptions import RayActorError

from cognitive_actors.actors.durability import Durability
from cognitive_actors.actors.population import PopulationActor
from cognitive_actors.cluster.settings import default_namespace
from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.dispatch import LedgerStore, Owner, TaskHopeless, TaskStore, open_store
from cognitive_actors.dispatch.ledger import LEDGER
from cognitive_actors.serve import effort
from cognitive_actors.serve import pipeline as service
from cognitive_actors.serve.dispatchers import DISPATCHER, REAPER, dispatchers, reaper
from cognitive_actors.serve.effort import HANDLERS
from cognitive_actors.serve.named import shared_options
from cognitive_actors.serve.pipeline import Pipeline, PipelineArguments
from cognitive_actors.serve.pipeline_bodies import cycle_of, graph_of

pytestmark = pytest.mark.usefixtures("embedded_ray")


def end(name: str) -> None:
    """End an actor for good, if there is one."""
    with suppress(ValueError):
        ray.kill(ray.get_actor(name, default_namespace()))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is no fault of the services."""
    monkeypatch.setenv("COGNITIVE_TIMEOUT_S", "60")


@pytest.fixture(scope="module")
def arguments(
    embedded_ray: None, model: GenerativeModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PipelineArguments]:
    """Agents that are durable, their routes, a place of tasks; and nobody who works on these."""
    folder, name = tmp_path_factory.mktemp("pipeline"), f"population-{uuid.uuid4().hex[:8]}"
    durability = Durability(str(folder / "agents"), name)
    PopulationActor.options(**shared_options(name)).remote(  # type: ignore[attr-defined]
        model, CycleSettings(), durability=durability
    )
    place = {"tasks": str(folder / "tasks.db"), "dispatchers": 0, "attempts": 3}
    yield PipelineArguments.model_validate({"actor": name, "routes": f"routes-{name}", **place})
    for each in (name, f"routes-{name}", f"{name}-lifecycle", LEDGER):
        end(each)


@pytest.fixture
def store(arguments: PipelineArguments) -> TaskStore:
    """The store that the services use."""
    return open_store(arguments.tasks, default_namespace())


@contextmanager
def working(arguments: PipelineArguments) -> Iterator[Any]:
    """One dispatcher and a reaper."""
    (made,) = dispatchers(arguments.tasks, 1, HANDLERS)
    reaper(arguments.tasks)
    try:
        yield made
    finally:
        for name in (f"{DISPATCHER}-0", REAPER):
            end(name)


def new() -> str:
    return f"a/ä {uuid.uuid4().hex[:8]}"


def asked(arguments: PipelineArguments, ask: Callable[..., Awaitable[Any]], replicas: int = 1) -> Any:
    """What comes of asking replicas, which share nothing but names."""
    apps = [Pipeline(arguments).__serve_build_asgi_app__() for _ in range(replicas)]

    async def run() -> Any:
        transports = [httpx.ASGITransport(app, raise_app_exceptions=False) for app in apps]
        return await ask(*(httpx.AsyncClient(transport=each, base_url="http://here") for each in transports))

    return asyncio.run(run())


async def sent(client: httpx.AsyncClient, body: Any, *wanted: int) -> Any:
    """The answer to a task. Actors may still be starting."""
    response = await client.post("/tasks", json=body)
    for _ in range(60):
        if response.status_code not in (503, 504):
            break
        await asyncio.sleep(0.5)
        response = await client.post("/tasks", json=body)
    assert response.status_code in (wanted or (200, 202)), response.text
    return response.json()


async def waited_for(client: httpx.AsyncClient, id: str) -> Any:
    for _ in range(900):
        found = (await client.get(place(id))).json()
        if ended(found):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(found)


async def calm(client: httpx.AsyncClient, arguments: PipelineArguments, agent: str) -> None:
    """Let an agent see what it will then expect, so that it is on the fast route."""
    population = arguments.shared()
    for day in range(3):
        record = task("", agent, day)["stimulus"]
        await population.think([record], advise=False)


def lived(arguments: PipelineArguments, agent: str) -> int:
    population = ray.get_actor(arguments.actor, default_namespace())
    return int(ray.get(population.agent.remote(agent), timeout=90)["step"])


def test_replicas_agree(arguments: PipelineArguments) -> None:
    agent = new()

    async def ask(one: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
        with working(arguments):
            # Planned, then fast: each once, whoever is asked, and however many at a time.
            for day in range(2):
                body = task(f"{agent} {day}", agent, day)
                answers = await asyncio.gather(*(sent(client, body) for client in (one, other) * 4))
                found = await waited_for(one, body["id"])
                assert found == await waited_for(other, body["id"]) and found["state"] == "done"
                assert {(answer["route"], answer["share"]) for answer in answers} == {(found["route"], found["share"])}
                assert await sent(other, body, 200) == found
                assert (await other.post("/tasks", json={**body, "priority": 3})).status_code == 409
            listed = [(await client.get("/tasks")).json() for client in (one, other)]
            assert listed[0] == listed[1] and found["route"] == "fast"

    asked(arguments, ask, replicas=2)
    assert lived(arguments, agent) == 2


def test_what_nobody_has_done_is_cancelled(arguments: PipelineArguments, store: TaskStore) -> None:
    agents = [new(), new()]

    async def ask(client: httpx.AsyncClient) -> None:
        for agent, seen, steps in zip(agents, ({"temperature": "cold"}, {"weather": "snow"}), (1, 3), strict=True):
            body = task(agent, agent, 0, seen, priority=-5)
            first = await sent(client, body, 202)
            assert (first["state"], first["attempts"], len(first["steps"])) == ("queued", 0, steps)
            assert agent in [each["id"] for each in (await client.get("/tasks?state=queued")).json()["tasks"]]
            for _ in range(2):
                response = await client.delete(place(agent))
                assert response.status_code == 200, response.text
                assert response.json()["state"] == "cancelled" and set(response.json()["steps"].values()) == {
                    "cancelled"
                }
            assert await sent(client, body, 200) == response.json() == await waited_for(client, agent)

    asked(arguments, ask)
    assert {node.priority for node in store.find(graph=graph_of(agents[1]))} == {9995}


def test_a_replica_that_dies_with_a_task_loses_nothing(
    arguments: PipelineArguments, store: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = new()

    async def dies(self: Pipeline, task: str, end: float) -> None:
        await self.tasks.ask(lambda store: store.take(task, Owner("a replica", "that died"), 0.001))

    monkeypatch.setattr(Pipeline, "_do_at_once", dies)

    async def ask(client: httpx.AsyncClient) -> None:
        await calm(client, arguments, agent)
        first = await sent(client, task(agent, agent, 3), 202)
        assert (first["route"], first["state"], first["attempts"]) == ("fast", "running", 1)
        with working(arguments):
            found = await waited_for(client, agent)
        assert (found["state"], found["attempts"], found["error"]) == ("done", 2, None)
        assert await sent(client, task(agent, agent, 3), 200) == found

    asked(arguments, ask)
    cycle = cycle_of(store.find(graph=graph_of(agent)))
    assert cycle.completions == 1 and lived(arguments, agent) == 4


@pytest.mark.parametrize("why", ["away", "slow"])
def test_what_cannot_be_done_at_once_is_left_to_dispatchers(
    arguments: PipelineArguments, store: TaskStore, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    agent = new()

    async def fails(*_: Any) -> Any:
        if why == "away":
            raise RayActorError
        await asyncio.sleep(3600)

    monkeypatch.setattr(service, "cycle", fails)
    monkeypatch.setattr(service, "_AT_ONCE", 0.1 if why == "slow" else 0.75)

    async def ask(client: httpx.AsyncClient) -> None:
        await calm(client, arguments, agent)
        first = await sent(client, task(agent, agent, 3), 202)
        assert (first["route"], first["state"], first["attempts"]) == ("fast", "queued", 0)
        with working(arguments):
            found = await waited_for(client, agent)
        assert (found["state"], found["attempts"]) == ("done", 1)

    asked(arguments, ask)
    assert cycle_of(store.find(graph=graph_of(agent))).claims == 2 and lived(arguments, agent) == 4


def test_what_is_late_by_then_fails_for_good(arguments: PipelineArguments) -> None:
    agent, other = new(), new()
    bodies = {"planned": task(agent, agent, 5), "escalated": task(other, other, 5, {"weather": "snow"})}

    async def ask(client: httpx.AsyncClient) -> None:
        for route, body in bodies.items():
            assert (await sent(client, body, 202))["route"] == route
            later = {**body["stimulus"], "time": 9}
            await arguments.shared().think([later], advise=False)
        with working(arguments):
            for body in bodies.values():
                found = await waited_for(client, body["id"])
                assert (found["state"], found["attempts"], found["result"]) == ("failed", 1, None), found
                assert "time runs backwards for agent" in found["error"] and "Traceback" not in found["error"]
                assert found["steps"].get("reflect") in (None, "cancelled")
                assert (await client.post("/tasks", json=body)).status_code == 409

    asked(arguments, ask)


def test_what_is_late_at_once_is_refused_each_time(
    arguments: PipelineArguments, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, population = new(), arguments.shared()
    at_once = Pipeline._do_at_once

    async def overtaken(self: Pipeline, *given: Any) -> None:
        await population.think([task("", agent, 9)["stimulus"]], advise=False)
        await at_once(self, *given)

    monkeypatch.setattr(Pipeline, "_do_at_once", overtaken)

    async def ask(client: httpx.AsyncClient) -> None:
        await calm(client, arguments, agent)
        for _ in range(2):
            response = await client.post("/tasks", json=task(agent, agent, 3))
            assert response.status_code == 409 and "time runs backwards" in response.json()["detail"], response.text
        found = (await client.get(place(agent))).json()
        assert (found["state"], found["attempts"], found["result"]) == ("failed", 1, None)

    asked(arguments, ask)


def test_a_dispatcher_that_is_killed_does_not_do_a_task_twice(arguments: PipelineArguments, store: TaskStore) -> None:
    agent = new()
    pid = ray.get(ray.get_actor(arguments.actor, default_namespace()).ready.remote(), timeout=90)["pid"]

    async def ask(client: httpx.AsyncClient) -> None:
        await sent(client, task(agent, agent), 202)
        # Its agents do not answer: it is in the middle of the task when it is killed.
        os.kill(pid, signal.SIGSTOP)
        try:
            with working(arguments) as dispatcher:
                while (await client.get(place(agent))).json()["state"] != "running":
                    await asyncio.sleep(0.1)
                victim = await dispatcher.__ray_call__.remote(lambda self: os.getpid())
                os.kill(victim, signal.SIGKILL)
                os.kill(pid, signal.SIGCONT)
                found = await waited_for(client, agent)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert (found["state"], found["attempts"]) == ("done", 2)

    asked(arguments, ask)
    assert cycle_of(store.find(graph=graph_of(agent))).completions == 1 and lived(arguments, agent) == 1


def test_errors_of_agents_have_no_trace(
    arguments: PipelineArguments, store: TaskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effort, "PATIENCE", 0.0)
    nobody = f"nobody-{uuid.uuid4().hex[:8]}"
    agent = new()
    asked(arguments, lambda client: sent(client, task(agent, agent), 202))
    cycle = cycle_of(store.find(graph=graph_of(agent)))
    claim = store.take(cycle.id, Owner("one", "1"), 60.0)
    assert claim is not None

    async def stop() -> None:
        await arguments.model_copy(update={"actor": nobody}).shared().stop()

    asyncio.run(stop())
    claim.payload["agents"]["actor"] = nobody
    with pytest.raises(effort.Unanswered, match="the agents are not initialised"):
        effort.execute(claim)
    claim.payload["agents"]["actor"] = arguments.actor
    claim.payload["stimulus"]["observation"] = {"weather": "frogs"}
    with pytest.raises(TaskHopeless, match="frogs"):
        effort.execute(claim)
    store.cancel([cycle.id])
    end(f"{nobody}-lifecycle")


def test_there_is_one_dispatcher_of_a_number_whoever_makes_it(arguments: PipelineArguments) -> None:
    with working(arguments) as made:
        again = dispatchers(arguments.tasks, 2, HANDLERS)
        try:
            assert again[0] == made and again[1] != made
            states = ray.get([each.status.remote() for each in again], timeout=90)
            assert [state["name"] for state in states] == [f"{DISPATCHER}-0", f"{DISPATCHER}-1"]
            assert states[0]["kinds"] == sorted(HANDLERS) and dispatchers(arguments.tasks, 0, HANDLERS) == []
            assert reaper(arguments.tasks) == ray.get_actor(REAPER, default_namespace())
        finally:
            end(f"{DISPATCHER}-1")
    assert isinstance(open_store(arguments.tasks, default_namespace()), LedgerStore)
