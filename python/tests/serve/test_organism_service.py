"""``/organism`` on a real Serve: it sees what ``/cognitive`` does, and both agree on whether there are agents."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest
import ray
from processes import descendants, wait_until
from served import Served, initialised, shut_down

from cognitive_actors.cluster.settings import default_namespace
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.serve.organism import Organism, OrganismArguments
from cognitive_actors.serve.problems import Refused

WEATHER = ("rain", "sun", "fog", "drizzle")
ALL = {"limit": 1000}


@pytest.fixture(autouse=True)
def organism(request: pytest.FixtureRequest) -> Iterator[None]:
    """Others need the agents, whatever happens here."""
    served = request.getfixturevalue("served") if "served" in request.fixturenames else None
    if served is not None:
        initialised(served.client)
    yield
    if served is not None:
        initialised(served.client)


def good(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def new() -> str:
    """An agent of this test's own: others live beside it."""
    return f"a/ä {uuid.uuid4().hex[:8]}"


def stimulus(agent: str, day: int = 0) -> dict[str, Any]:
    return {"agent": agent, "time": day, "observation": {"weather": WEATHER[day % 4]}}


def agent_at(client: httpx.Client, name: str) -> httpx.Response:
    return client.get(f"/organism/agents/{httpx.URL('', params={'x': name}).query.decode()[2:].replace('+', '%20')}")


def populations(served: Served) -> int:
    commands = descendants(served.process.pid).values()
    return sum(command.startswith("ray::PopulationActor") for command in commands)


def test_an_agent_is_as_cognitive_has_answered(served: Served, model: GenerativeModel) -> None:
    name = new()
    assert agent_at(served.stranger, name).status_code == 404
    for day in range(5):
        answer = good(served.client.post("/cognitive/execute", json=stimulus(name, day)))
        found = good(agent_at(served.stranger, name))
        assert (found["agent"], found["step"], found["time"]) == (name, day + 1, day)
        assert (found["modulators"], found["action"]) == (answer["new_state"], answer["action"])
        held = [(content["modality"], content["salience"]) for content in answer["broadcast"]["broadcast"]]
        assert [(content["modality"], content["salience"]) for content in found["workspace"]] == held
        assert {factor: list(states) for factor, states in found["beliefs"].items()} == {
            factor.name: list(factor.states) for factor in model.factors
        }
        assert all(math.isclose(sum(states.values()), 1, rel_tol=1e-5) for states in found["beliefs"].values())


def test_a_step_is_a_cycle_of_the_same_agents(served: Served) -> None:
    name = new()
    advice = good(served.stranger.post("/cognitive/advisory", json=stimulus(name)))
    assert good(served.client.post("/organism/step", json=stimulus(name))) == advice
    assert good(agent_at(served.client, name))["step"] == 1
    good(served.client.post("/cognitive/execute", json=stimulus(name, 2)))
    assert served.client.post("/organism/step", json=stimulus(name, 1)).status_code == 409
    assert served.client.post("/organism/step", json={"observation": {"weather": "frogs"}}).status_code == 422


def test_agents_are_paged(served: Served) -> None:
    names = [new() for _ in range(5)]
    for name in names:
        good(served.client.post("/organism/step", json=stimulus(name)))
    whole = good(served.stranger.get("/organism/agents", params=ALL))
    assert whole["agents"][-5:] == names and (whole["total"], whole["next"]) == (len(whole["agents"]), None)
    found: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = good(served.stranger.get("/organism/agents", params={"offset": offset, "limit": 3}))
        assert 1 <= len(page["agents"]) <= 3 and page["total"] == whole["total"]
        found, offset = found + page["agents"], page["next"]
    assert found == whole["agents"]
    beyond = good(served.stranger.get("/organism/agents", params={"offset": 1 << 40}))
    assert (beyond["agents"], beyond["next"]) == ([], None)


def test_the_overview_is_that_of_its_agents(served: Served) -> None:
    for day in range(3):
        answer = good(served.client.post("/organism/step", json=stimulus(new(), day)))
    striking = {"agent": new(), "observation": {"weather": "fog", "temperature": "warm"}}
    answer = good(served.client.post("/organism/step", json=striking))
    names = good(served.stranger.get("/organism/agents", params=ALL))["agents"]
    agents = [good(agent_at(served.stranger, name)) for name in names]
    found = good(served.stranger.get("/organism/overview"))
    assert (found["agents"], found["steps"]) == (len(agents), sum(agent["step"] for agent in agents))
    for modulator, level in found["modulators"].items():
        levels = [agent["modulators"][modulator] for agent in agents]
        mean = sum(levels) / len(levels)
        assert math.isclose(level["mean"], mean, rel_tol=1e-9)
        spread = math.sqrt(sum((x - mean) ** 2 for x in levels) / len(levels))
        assert math.isclose(level["spread"], spread, rel_tol=1e-6, abs_tol=1e-12)
    saliences: dict[str, list[float]] = {}
    for each in (each for agent in agents for each in agent["workspace"]):
        saliences.setdefault(each["modality"], []).append(each["salience"])
    for content in found["workspace"]:
        held = saliences.get(content["modality"], [])
        assert math.isclose(content["share"], len(held) / len(agents))
        assert content["salience"] == (pytest.approx(sum(held) / len(held)) if held else None)
    assert any(content["share"] for content in found["workspace"])
    assert found["free_energy"] == answer["free_energy"]
    assert found["nodes"] == {"alive": 1, "dead": 0}


def test_to_initialise_again_changes_nothing(served: Served) -> None:
    name = new()
    good(served.client.post("/organism/step", json=stimulus(name)))
    for content in (b"", b"{}"):
        kind = {"Content-Type": "application/json"}
        # 202 while the answer takes its time.
        again = partial(served.client.post, "/organism/initialize", content=content, headers=kind)
        while (response := again()).status_code == 202:
            time.sleep(0.1)
        assert good(response) == {"phase": "ready"}
    assert good(agent_at(served.client, name))["step"] == 1
    assert served.client.post("/organism/initialize", json={"model": "x"}).status_code == 422


def test_after_a_shutdown_there_are_no_agents_until_they_are_initialised(served: Served) -> None:
    name = new()
    good(served.client.post("/cognitive/execute", json=stimulus(name)))
    shut_down(served.client)
    questions = [
        *(served.client.post(f"/cognitive/{path}", json=stimulus(name, 1)) for path in ("execute", "advisory")),
        served.client.post("/organism/step", json=stimulus(name, 1)),
        *(served.stranger.get(f"/organism/{path}") for path in ("health", "agents", f"agents/{name}", "overview")),
    ]
    for response in questions:
        assert response.status_code == 503 and "not initialised" in response.json()["detail"], response.text
        assert response.headers["retry-after"]
    for service in ("cognitive", "organism"):
        response = served.stranger.get(f"/{service}/ready")
        assert response.status_code == 503 and "not initialised" in response.json()["reasons"][0]
    assert good(served.stranger.get("/organism/status"))["phase"] == "not initialised"
    shut_down(served.client)
    wait_until(lambda: populations(served) == 0, served.process)

    first = served.client.post("/organism/initialize")
    assert first.status_code == 200 or (first.status_code, first.headers["location"]) == (202, "/organism/health")
    initialised(served.client)
    assert good(served.stranger.get("/organism/agents")) == {"agents": [], "total": 0, "next": None}
    nobody = good(served.stranger.get("/organism/overview"))
    assert nobody["agents"] == 0
    assert {nobody[name] for name in ("modulators", "workspace", "free_energy")} == {None}
    answer = good(served.client.post("/cognitive/execute", json=stimulus(name, 1)))
    assert good(agent_at(served.stranger, name))["modulators"] == answer["new_state"]
    assert populations(served) == 1


def test_what_is_under_way_at_a_shutdown_is_answered_or_refused(served: Served) -> None:
    def live(number: int) -> list[int]:
        client = served.client
        return [client.post("/cognitive/execute", json=stimulus(f"s{number}", d)).status_code for d in range(12)]

    # Of the tests before.
    before = good(served.stranger.get("/organism/overview"))["steps"]
    with ThreadPoolExecutor(8) as threads:
        lives = [threads.submit(live, number) for number in range(8)]
        while good(served.stranger.get("/organism/overview"))["steps"] <= before:
            pass
        shut_down(served.client)
        codes = [each.result() for each in lives]
    for found in codes:
        # Once refused, always refused: no other population has been made.
        assert found == sorted(found) and set(found) <= {200, 503}
    assert any(200 in found for found in codes)


@pytest.mark.parametrize("path", ["initialize", "shutdown", "step"])
def test_what_changes_something_asks_for_the_token(served: Served, path: str) -> None:
    body = stimulus("x") if path == "step" else None
    assert served.stranger.post(f"/organism/{path}", json=body).status_code == 401
    assert served.stranger.get("/organism/health").json() == {"status": "ok"}


@pytest.mark.usefixtures("embedded_ray")
def test_replicas_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replicas and a `/cognitive` in this process, which share nothing but the actor's name."""
    monkeypatch.setenv("COGNITIVE_TIMEOUT_S", "60")
    arguments = OrganismArguments(actor=f"population-{uuid.uuid4().hex[:8]}")
    apps = [Organism(arguments).__serve_build_asgi_app__() for _ in range(2)]
    cognitive = arguments.shared()

    async def ready(client: httpx.AsyncClient) -> None:
        while (await client.post("/initialize")).status_code == 202 or (await client.get("/health")).status_code == 503:
            await asyncio.sleep(0.05)
        good(await client.get("/health"))

    async def shut_down(client: httpx.AsyncClient) -> None:
        while (response := await client.post("/shutdown")).status_code == 202:
            await asyncio.sleep(0.05)
        good(response)

    async def ask() -> None:
        transports = [httpx.ASGITransport(app, raise_app_exceptions=False) for app in apps]
        one, other = (httpx.AsyncClient(transport=each, base_url="http://here") for each in transports)
        async with one, other:
            # Only `/cognitive` makes what nobody has begun.
            assert (await one.post("/step", json=stimulus("a"))).status_code == 503
            await asyncio.gather(ready(one), ready(other))
            good(await one.post("/step", json=stimulus("a")))
            good(await other.post("/step", json=stimulus("b", 1)))
            (answer,) = await cognitive.think([stimulus("c", 2)], advise=False)
            assert not isinstance(answer, Refused)
            for path in ("/agents", "/agents/a", "/agents/c", "/overview"):
                found = [good(await client.get(path)) for client in (one, other)]
                assert found[0] == found[1]
            assert good(await one.get("/agents"))["agents"] == ["a", "b", "c"]
            await shut_down(other)
            # Nobody forgets it, whichever process dies.
            agreement = ray.get_actor(f"{arguments.actor}-lifecycle", default_namespace())
            os.kill((await agreement.ready.remote())["pid"], signal.SIGKILL)
            assert (await agreement.ready.remote())["restarted"]
            for client in (one, other):
                assert (await client.get("/health")).status_code == 503
            with pytest.raises(Refused, match="not initialised"):
                await cognitive.think([stimulus("c", 3)], advise=False)
            await ready(one)
            assert good(await other.get("/agents"))["agents"] == []
            (answer,) = await cognitive.think([stimulus("c", 3)], advise=False)
            assert not isinstance(answer, Refused)
            assert good(await other.get("/agents"))["agents"] == ["c"]
            await shut_down(one)

    asyncio.run(ask())
