"""``/pipeline`` on a real Serve: routes by surprise, one task for each id, and what is told of it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pipeline_requests import DAYS, FINAL, ended, new, place, routed, task
from served import Served

from cognitive_actors.core.model import GenerativeModel


def sent(client: httpx.Client, body: Any) -> httpx.Response:
    """A task that is taken on. Right after the start the tasks may still be on their way."""
    end = time.monotonic() + 90
    while (response := client.post("/pipeline/tasks", json=body)).status_code in (503, 504):
        assert time.monotonic() < end, response.text
        time.sleep(0.2)
    assert response.status_code in (200, 202), response.text
    return response


def looked_up(client: httpx.Client, id: str) -> Any:
    response = client.get(f"/pipeline{place(id)}")
    assert response.status_code == 200, response.text
    return response.json()


def waited_for(client: httpx.Client, id: str) -> Any:
    """What has become of a task in the end."""
    end = time.monotonic() + 90
    while not ended(found := looked_up(client, id)):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def done(client: httpx.Client, body: Any) -> Any:
    sent(client, body)
    found = waited_for(client, body["id"])
    assert found["state"] == "done", found
    return found


def steps(client: httpx.Client, agent: str) -> int:
    """Cycles that an agent has lived."""
    return int(client.get(f"/organism/agents/{place(agent).removeprefix('/tasks/')}").json()["step"])


def test_surprise_decides_and_hysteresis_keeps(served: Served, model: GenerativeModel) -> None:
    agent, expected = new(), routed(model, DAYS)
    found: list[tuple[str, Any]] = []
    for day, seen in enumerate(DAYS):
        response = sent(served.client, task(f"{agent} {day}", agent, day, seen))
        first, last = response.json(), waited_for(served.stranger, f"{agent} {day}")
        assert first["share"] == last["share"] and first["route"] == last["route"] and last["state"] == "done"
        if first["route"] != "fast":
            assert (response.status_code, first["result"]) == (202, None)
            assert response.headers["location"] == f"/pipeline{place(f'{agent} {day}')}"
        found.append((last["route"], pytest.approx(last["share"], abs=1e-5)))
    assert found == [(route, share) for route, share, _ in expected]
    assert {route for route, _ in found} == {"fast", "planned", "escalated"}
    # What the share alone would have said is not what came.
    assert any(route != alone for route, _, alone in expected)
    assert steps(served.client, agent) == len(DAYS)


def test_little_surprise_is_answered_at_once_as_cognitive_does(served: Served) -> None:
    agent = new()
    done(served.client, task(f"{agent} 0", agent, 0))
    advised = served.client.post("/cognitive/advisory", json=task("", agent, 1)["stimulus"]).json()
    response = sent(served.client, task(f"{agent} 1", agent, 1))
    found = response.json()
    assert (response.status_code, found["route"], found["state"]) == (200, "fast", "done")
    assert found["result"] == advised and found["steps"] == {"execute": "done"} and found["error"] is None
    assert found["share"] < 0.35 and found["finished"] >= found["created"]
    assert looked_up(served.stranger, f"{agent} 1") == found


def test_much_surprise_is_foreseen_and_reflected_upon(served: Served) -> None:
    agent = new()
    found = done(served.client, task(agent, agent, 0, {"weather": "snow"}))
    assert found["route"] == "escalated" and found["steps"] == dict.fromkeys(("foresee", "execute", "reflect"), "done")
    foresight, reflection = found["foresight"], found["reflection"]
    assert foresight.pop("surprise") == found["surprise"] and foresight == found["result"]
    assert reflection["agent"]["step"] == 1 and reflection["agent"]["modulators"] == found["result"]["new_state"]
    assert reflection["surprise"] > 0 and reflection["resolved"] == (reflection["share"] < 0.57)
    assert steps(served.client, agent) == 1


def test_one_id_is_one_task(served: Served) -> None:
    agent = new()
    first, second = (task(f"{agent} {day}", agent, day) for day in range(2))
    done(served.client, first)
    answer = sent(served.client, second)
    for _ in range(3):
        again = sent(served.client, second)
        assert (again.status_code, again.json()) == (200, answer.json())
    assert sent(served.client, first).json() == looked_up(served.client, first["id"])
    assert steps(served.client, agent) == 2
    for other in (task(second["id"], agent, 2), {**second, "priority": 1}, task(second["id"], f"{agent}b", 1)):
        response = served.client.post("/pipeline/tasks", json=other)
        assert response.status_code == 409 and "is that of another task" in response.json()["detail"], response.text
    assert steps(served.client, agent) == 2


@pytest.mark.parametrize("before", [0, 1], ids=["planned", "fast"])
def test_one_id_sent_by_many_at_a_time_is_one_task(served: Served, before: int) -> None:
    agent = new()
    for day in range(before):
        done(served.client, task(f"{agent} {day}", agent, day))
    body = task(agent, agent, 9)
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda _: sent(served.client, body).json(), range(12)))
    found = waited_for(served.client, agent)
    for name in ("id", "route", "surprise", "share", "created"):
        assert {answer[name] for answer in answers} == {found[name]}
    assert all(answer == found for answer in answers if answer["state"] == "done")
    assert found["state"] == "done" and steps(served.client, agent) == before + 1


def test_time_does_not_run_backwards(served: Served) -> None:
    agent = new()
    done(served.client, task(f"{agent} 5", agent, 5))
    for _ in range(2):
        response = served.client.post("/pipeline/tasks", json=task(f"{agent} 4", agent, 4))
        assert response.status_code == 409 and "time runs backwards for agent" in response.json()["detail"]
    assert served.client.get(f"/pipeline{place(f'{agent} 4')}").status_code == 404


def test_what_is_done_cannot_be_cancelled(served: Served) -> None:
    agent = new()
    found = done(served.client, task(agent, agent))
    response = served.client.delete(f"/pipeline{place(agent)}")
    assert response.status_code == 409 and "is done already" in response.json()["detail"]
    assert looked_up(served.client, agent) == found
    for method in ("GET", "DELETE"):
        response = served.client.request(method, f"/pipeline{place(new())}")
        assert response.status_code == 404 and "there is no task" in response.json()["detail"]


def test_tasks_are_listed_the_newest_first(served: Served) -> None:
    agent = new()
    ids = [f"{agent} {number}" for number in range(4)]
    for number, id in enumerate(ids):
        done(served.client, task(id, agent, number))
    found = served.stranger.get("/pipeline/tasks", params={"state": "done", "limit": 1000}).json()["tasks"]
    mine = [each for each in found if each["id"].startswith(agent)]
    assert [each["id"] for each in mine] == ids[::-1]
    assert [each["route"] for each in mine] == ["fast", "fast", "fast", "planned"] and "result" not in mine[0]
    fast: dict[str, Any] = {"state": "done", "route": "fast", "limit": 3}
    for params in ({"limit": 3}, fast):
        some = served.stranger.get("/pipeline/tasks", params=params).json()["tasks"]
        assert len(some) == 3 and some == sorted(some, key=lambda each: -each["created"])
    assert served.stranger.get("/pipeline/tasks", params={"route": "planned"}).json()["tasks"]
    for wrong in ({"limit": 0}, {"limit": 1001}, {"state": "dead"}, {"route": "slow"}):
        assert served.stranger.get("/pipeline/tasks", params=wrong).status_code == 422


@pytest.mark.parametrize("id", ["a/b", "ä 中 \U0001f327", "?x=1#y&z", "%2F", "a/../b/", " ", "x" * 200, "status"])
def test_any_text_may_be_an_id(served: Served, id: str) -> None:
    agent = new()
    found = done(served.client, task(id, agent))
    assert found["id"] == id and sent(served.client, task(id, agent)).json() == found


@pytest.mark.parametrize("id", ["", "x" * 201, 7, None, "a\nb", "\0", "..", "\ud800"])
def test_what_is_no_id_is_refused(served: Served, id: Any) -> None:
    body = task("x", new())
    # httpx would not write half a character.
    content, kind = json.dumps({**body, "id": id}), {"Content-Type": "application/json"}
    response = served.client.post("/pipeline/tasks", content=content, headers=kind)
    assert response.status_code in (400, 422) and "Traceback" not in response.text, response.text


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"id": "x"},
        {"stimulus": {"observation": {"weather": "rain"}}},
        {"id": "x", "stimulus": {"observation": {"weather": "frogs"}}},
        {"id": "x", "stimulus": {"observation": {}}},
        {"id": "x", "stimulus": {"observation": {"weather": "rain"}}, "priority": 1001},
        {"id": "x", "stimulus": {"observation": {"weather": "rain"}}, "priority": "high"},
        {"id": "x", "stimulus": {"observation": {"weather": "rain"}}, "route": "fast"},
    ],
)
def test_bodies_that_are_none(served: Served, body: Any) -> None:
    response = served.client.post("/pipeline/tasks", json=body)
    assert response.status_code == 422 and response.json()["detail"], response.text


def test_what_changes_something_asks_for_the_token(served: Served) -> None:
    for response in (
        served.stranger.post("/pipeline/tasks", json=task("x", "x")),
        served.stranger.delete("/pipeline/tasks/x"),
    ):
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"


def test_health_and_what_is_in_force(served: Served) -> None:
    done(served.client, task(new(), new()))
    assert served.stranger.get("/pipeline/health").json() == {"status": "ok"}
    assert served.stranger.get("/pipeline/ready").json() == {"ready": True, "reasons": []}
    status = served.stranger.get("/pipeline/status").json()
    # Nobody has named a place: what is not done is lost with the cluster.
    assert (status["model"], status["durable"], status["attempts"]) == ("umbrella", False, 5)
    assert status["routing"] == {
        "fast_below": 0.35, "fast_until": 0.38, "escalated_until": 0.57, "escalated_from": 0.6, "kappa": 1.0,
    }  # fmt: skip
    assert status["tasks"].keys() == {"fast", "planned", "escalated"}
    assert status["tasks"]["planned"].keys() == FINAL | {"queued", "running"} and status["tasks"]["planned"]["done"]
