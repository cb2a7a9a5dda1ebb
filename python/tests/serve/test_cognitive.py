"""``/cognitive`` on a real Serve: the same numbers as a session, no side effects of advice, and what it survives."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from processes import descendants
from served import Served

from cognitive_actors.core.cycle import CognitiveCycle, CycleSettings
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.roster import Chunk, Roster
from cognitive_actors.files.jsonl import parse_records
from cognitive_actors.pipeline.outcomes import outcome_record

WEATHER = ("rain", "sun", "fog", "drizzle")


def days(agent: str, count: int = 6) -> list[dict[str, Any]]:
    return [
        {"id": f"{agent}-{day}", "agent": agent, "time": day, "observation": {"weather": WEATHER[day % 4]}}
        for day in range(count)
    ]


def expected(model: GenerativeModel, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the core says, one stimulus at a time."""
    roster = Roster(CognitiveCycle(model, CycleSettings()))
    found = []
    for record in records:
        batch = parse_records([record], model)
        chunk = Chunk(batch.agents, batch.time, batch.observations, batch.delta)
        found.append({"id": record["id"], **outcome_record(model, chunk, roster.process(chunk), 0)})
    return found


def same(one: Any, other: Any) -> bool:
    """Equal up to the last bits, which depend on who shares a batch."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(x, other[name]) for name, x in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6) if isinstance(one, float) else bool(one == other)


def posted(client: httpx.Client, path: str, body: Any) -> Any:
    response = client.post(f"/cognitive/{path}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_a_stimulus_is_lived_once_under_its_key(served: Served) -> None:
    agent, client = "keyed", served.client
    first, second = days(agent, 2)

    def execute(record: dict[str, Any], key: str, path: str = "cognitive/execute") -> httpx.Response:
        return client.post(f"/{path}", json=record, headers={"Idempotency-Key": key})

    with ThreadPoolExecutor(8) as several:
        # Sent at the same time, and so in one batch or in several.
        answers_ = list(several.map(lambda _: execute(first, "one"), range(8)))
    assert {each.status_code for each in answers_} == {200}
    assert all(each.json() == answers_[0].json() for each in answers_)
    assert client.get(f"/organism/agents/{agent}").json()["step"] == 1
    assert execute(second, "two").status_code == 200
    # Also through the other door, and although time has gone on.
    assert execute(first, "one", "organism/step").json() == answers_[0].json()
    assert client.get(f"/organism/agents/{agent}").json()["step"] == 2
    other = execute(second, "one")
    assert other.status_code == 409
    assert "'one' was the name of another stimulus" in other.json()["detail"]


def test_a_stream_that_is_sent_again_goes_on(served: Served) -> None:
    records = days("streamed again", 5)
    headers = {"Idempotency-Key": "a stream"}

    def lines(count: int) -> list[Any]:
        response = served.client.post("/cognitive/stream", json={"stimuli": records[:count]}, headers=headers)
        return [json.loads(line) for line in response.text.splitlines()]

    begun, whole = lines(3), lines(5)
    assert whole[:3] == begun[:3]
    assert whole[-1] == {"done": 5}
    assert served.client.get("/organism/agents/streamed again").json()["step"] == 5


def test_execute_is_one_cycle_of_the_core(served: Served, model: GenerativeModel) -> None:
    records = days("alone")
    answers = [posted(served.client, "execute", record) for record in records]
    assert same(answers, expected(model, records))


def test_many_at_a_time_do_not_mix(served: Served, model: GenerativeModel) -> None:
    populations = [days(f"agent {number}") for number in range(40)]

    def live(records: list[dict[str, Any]]) -> list[Any]:
        return [posted(served.client, "execute", record) for record in records]

    with ThreadPoolExecutor(16) as threads:
        for answers, records in zip(threads.map(live, populations), populations, strict=True):
            assert same(answers, expected(model, records))


def test_advice_changes_nothing(served: Served, model: GenerativeModel) -> None:
    first, second, *_ = days("advised")
    unborn = posted(served.stranger, "advisory", first)
    assert posted(served.client, "execute", first) == unborn
    assert posted(served.stranger, "advisory", second) == posted(served.stranger, "advisory", second)
    assert same([unborn, posted(served.client, "execute", second)], expected(model, [first, second]))


def test_a_stream_ends_with_its_count(served: Served, model: GenerativeModel) -> None:
    records = days("streamed", 50)
    records[7]["observation"]["weather"] = "frogs"
    with served.client.stream("POST", "/cognitive/stream", json={"stimuli": records}) as response:
        lines = [json.loads(line) for line in response.iter_lines()]
    assert lines[-1] == {"done": 49}
    assert "frogs" in lines[7]["refused"]
    good = [record for number, record in enumerate(records) if number != 7]
    assert same([line for line in lines[:-1] if "refused" not in line], expected(model, good))


def test_a_bad_stimulus_is_refused_and_its_neighbours_are_not(served: Served) -> None:
    bodies = [{"agent": f"n{number}", "observation": {"weather": "rain"}} for number in range(20)]
    bodies[3]["observation"] = {"wether": "rain"}
    bodies[9]["observation"] = {"weather": "frogs"}
    bodies[14]["delta"] = {"caffeine": 1.0}
    with ThreadPoolExecutor(20) as threads:
        responses = list(threads.map(lambda body: served.client.post("/cognitive/execute", json=body), bodies))
    codes = [response.status_code for response in responses]
    assert {number for number, code in enumerate(codes) if code == 422} == {3, 9, 14}
    assert codes.count(200) == 17
    assert "did you mean 'weather'" in responses[3].json()["detail"]


def test_time_does_not_run_backwards(served: Served) -> None:
    later, earlier = ({"agent": "clock", "time": t, "observation": {"weather": "sun"}} for t in (5.0, 4.0))
    assert served.client.post("/cognitive/execute", json=later).status_code == 200
    response = served.client.post("/cognitive/execute", json=earlier)
    assert response.status_code == 409 and "backwards for agent 'clock'" in response.json()["detail"]


@pytest.mark.parametrize("path", ["execute", "stream"])
def test_what_changes_something_asks_for_the_token(served: Served, path: str) -> None:
    response = served.stranger.post(f"/cognitive/{path}", json=days("x")[0])
    assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"


BODIES = (
    *("", "{", "[]", "7", "null", "[" * 10_000, '{"observation": 3}', '{"observation": {"weather": NaN}}'),
    *('{"observation": {}, "unknown": 1}', '{"observation": {"weather": 1e400}}', '{"observation": {}, "time": 1e999}'),
)


@pytest.mark.parametrize("body", BODIES)
def test_bodies_that_are_none(served: Served, body: str) -> None:
    kind = {"Content-Type": "application/json"}
    response = served.client.post("/cognitive/execute", content=body, headers=kind)
    assert response.status_code in (400, 422), response.text
    assert "Traceback" not in response.text and response.json()["detail"]


def test_health_and_what_is_in_force(served: Served) -> None:
    assert served.stranger.get("/cognitive/health").json() == {"status": "ok"}
    assert served.stranger.get("/cognitive/ready").json() == {"ready": True, "reasons": []}
    status = served.stranger.get("/cognitive/status").json()
    assert (status["model"], status["authenticated"], status["durable"]) == ("umbrella", True, False)


def test_a_request_s_id_comes_back(served: Served) -> None:
    named = served.client.post("/cognitive/execute", json={}, headers={"X-Request-ID": "mine"})
    assert named.headers["x-request-id"] == named.json()["request_id"] == "mine"
    other = served.client.post("/cognitive/execute", json={})
    assert other.headers["x-request-id"] == other.json()["request_id"] != "mine"


@pytest.mark.parametrize("victim", ["PopulationActor", "ServeReplica:cognitive"])
def test_a_process_is_killed_and_the_service_comes_back(served: Served, victim: str) -> None:
    """Nothing that was answered 200 is answered otherwise meanwhile than by 5xx, and then all is well again."""
    (pid,) = [pid for pid, command in descendants(served.process.pid).items() if command.startswith(f"ray::{victim}")]
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 90
    while True:
        response = served.client.post("/cognitive/execute", json={"agent": victim, "observation": {"weather": "sun"}})
        if response.status_code == 200:
            break
        assert response.status_code in (500, 503), response.text
        assert "Traceback" not in response.text
        assert time.monotonic() < end, response.text
        time.sleep(0.2)
    assert served.stranger.get("/cognitive/ready").status_code == 200
