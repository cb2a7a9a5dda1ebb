"""``/state`` on a real Serve: no change is lost, what is known is not sent again, and what is no JSON is refused."""

from __future__ import annotations

import asyncio
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from served import Served

from cognitive_actors.serve.json_values import CHARACTERS, DEPTH
from cognitive_actors.serve.state import RESERVED, State, StateArguments


def new() -> str:
    """A key of this test's own: others change the same state."""
    return f"k{uuid.uuid4().hex[:12]}"


def put(client: httpx.Client, key: str, value: Any, **headers: str) -> httpx.Response:
    return client.put(
        f"/state/{key}", json={"value": value}, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def sent(client: httpx.Client, method: str, path: str, text: str) -> httpx.Response:
    """JSON, or what is none, as it stands."""
    kind = {"Content-Type": "application/json"}
    return client.request(method, path, content=text.encode("utf-8"), headers=kind)


def good(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def test_a_value_is_read_as_it_was_written(served: Served) -> None:
    key, nested = new(), json.loads("[" * DEPTH + "]" * DEPTH)
    value: Any
    for value in (None, 0, 1.5, "ä\u2028", [], {}, {"a": [1, {"b": None}]}, True, 1 << 70, nested):
        version = good(put(served.client, key, value))["version"]
        response = served.stranger.get(f"/state/{key}")
        found = good(response)
        assert (found["key"], found["value"], found["version"]) == (key, value, version)
        assert response.headers["etag"] == f'"{found["epoch"]}.{version}"'
        assert good(served.stranger.get("/state"))["values"][key] == value


def test_writers_at_the_same_time_lose_no_change(served: Served) -> None:
    key, writers, each = new(), 8, 6
    good(put(served.client, key, []))

    def write(writer: int) -> int:
        refused = 0
        for number in range(each):
            while True:
                response = served.client.get(f"/state/{key}")
                value = [*good(response)["value"], [writer, number]]
                changed = put(served.client, key, value, If_Match=response.headers["etag"])
                if changed.status_code == 200:
                    break
                assert changed.status_code == 412, changed.text
                refused += 1
        return refused

    with ThreadPoolExecutor(writers) as threads:
        refused = sum(threads.map(write, range(writers)))
    found = good(served.stranger.get(f"/state/{key}"))["value"]
    assert sorted(found) == [[writer, number] for writer in range(writers) for number in range(each)]
    for writer in range(writers):
        assert [number for who, number in found if who == writer] == list(range(each))
    # Else nothing was tried.
    assert refused


def test_without_a_condition_the_last_one_wins_and_with_another_nobody(served: Served) -> None:
    key = new()
    assert put(served.client, key, 0, If_Match="*").status_code == 412
    first = put(served.client, key, 1, If_None_Match="*")
    assert put(served.client, key, 2, If_None_Match="*").status_code == 412
    good(put(served.client, key, 3))
    for header in (first.headers["etag"], "nonsense", f"W/{served.client.get(f'/state/{key}').headers['etag']}"):
        assert put(served.client, key, 4, If_Match=header).status_code == 412
        assert served.client.delete(f"/state/{key}", headers={"If-Match": header}).status_code == 412
    both = f'"x", {served.client.get(f"/state/{key}").headers["etag"]}'
    assert good(served.client.delete(f"/state/{key}", headers={"If-Match": both}))["deleted"] == [key]
    assert served.client.delete(f"/state/{key}").status_code == served.stranger.get(f"/state/{key}").status_code == 404


def test_what_is_known_is_not_sent_again(served: Served) -> None:
    key = new()
    good(put(served.client, key, 1))
    for path in ("/state", f"/state/{key}"):
        tag = served.stranger.get(path).headers["etag"]
        for header in (tag, f'"x", W/{tag}', "*"):
            known = served.stranger.get(path, headers={"If-None-Match": header})
            assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
        good(put(served.client, key, 1))
        changed = served.stranger.get(path, headers={"If-None-Match": tag})
        assert changed.status_code == 200 and changed.headers["etag"] != tag


def test_what_is_new_since_a_version(served: Served) -> None:
    stays, goes, comes = new(), new(), new()
    for key in (stays, goes):
        before = good(put(served.client, key, 1))
    changed = good(served.client.patch("/state", json={"set": {comes: 2}, "delete": [goes, "not-there"]}))
    assert changed["version"] == before["version"] + 1 and (changed["changed"], changed["deleted"]) == ([comes], [goes])
    found = good(served.stranger.get("/state", params={"since": before["version"], "epoch": before["epoch"]}))
    assert (found["values"], found["deleted"], found["version"]) == ({comes: 2}, [goes], changed["version"])
    nothing = good(served.stranger.get("/state", params={"since": changed["version"]}))
    assert (nothing["values"], nothing["deleted"]) == ({}, []) and nothing["age"] >= 0
    unknown: list[dict[str, str]] = [{"since": str(changed["version"] + 1)}, {"since": "0", "epoch": "another"}]
    for params in unknown:
        gone = served.stranger.get("/state", params=params)
        assert gone.status_code == 410 and "read the whole state" in gone.json()["detail"]


def test_several_keys_change_together_or_not_at_all(served: Served) -> None:
    one, other = new(), new()
    good(put(served.client, one, 1))
    response = served.client.get("/state")
    before, tag = good(response), {"If-Match": response.headers["etag"]}
    good(served.client.patch("/state", json={"set": {one: 2, other: 2}}, headers=tag))
    late = served.client.patch("/state", json={"set": {one: 3}, "delete": [other]}, headers=tag)
    half = sent(served.client, "PATCH", "/state", f'{{"set": {{"{one}": 4, "{other}": NaN}}}}')
    twice = served.client.patch("/state", json={"set": {one: 4}, "delete": [one]})
    own = served.client.patch("/state", json={"set": {one: 4, "health": 1}})
    assert [x.status_code for x in (late, half, twice, own)] == [412, 422, 422, 422]
    assert f"set.{other} is nan" in half.json()["detail"]
    found = good(served.client.get("/state"))
    assert found["version"] == before["version"] + 1 and (found["values"][one], found["values"][other]) == (2, 2)


def test_a_change_with_a_name_is_made_once(served: Served) -> None:
    key, name = new(), uuid.uuid4().hex
    first = good(put(served.client, key, 1, Idempotency_Key=name, If_None_Match="*"))
    good(put(served.client, key, 2))
    assert good(put(served.client, key, 1, Idempotency_Key=name, If_None_Match="*")) == first
    assert put(served.client, key, 3, Idempotency_Key=name).status_code == 409
    assert good(served.client.get(f"/state/{key}"))["value"] == 2


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("NaN", "value is nan"),
        ('{"w": [0.5, NaN]}', "value.w[1] is nan"),
        ('[{"a": -Infinity}]', "value[0].a is -inf"),
        ("1e400", "value is inf"),
        ('["\\ud800"]', "value[0] has half a character"),
        ('{"\\ud800": 1}', "half a character"),
        ('{"\\ud800": NaN}', "is nan"),
        ("[" * (DEPTH + 1) + "]" * (DEPTH + 1), f"more than {DEPTH} brackets"),
        (f'"{"x" * CHARACTERS}"', f"may take {CHARACTERS}"),
    ],
)
def test_what_is_no_value_is_refused_with_its_place(served: Served, text: str, place: str) -> None:
    key = new()
    response = sent(served.client, "PUT", f"/state/{key}", f'{{"value": {text}}}')
    assert response.status_code == 422 and place in response.json()["detail"], response.text
    assert served.stranger.get(f"/state/{key}").status_code == 404


@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"value": 1, "more": 2}', "[" * 10_000])
def test_what_is_no_body(served: Served, body: str) -> None:
    assert sent(served.client, "PUT", f"/state/{new()}", body).status_code in (400, 422)


@pytest.mark.parametrize("key", ["a b", ".hidden", "ä", "x" * 129, "%22"])
def test_what_is_no_key(served: Served, key: str) -> None:
    assert put(served.client, key, 1).status_code == 422
    body = json.dumps({"set": {key.replace("%22", "\ud800"): 1}})
    assert sent(served.client, "PATCH", "/state", body).status_code == 422


def test_places_of_the_service_are_no_keys(served: Served) -> None:
    for key in RESERVED:
        response = put(served.client, key, 1)
        assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert served.client.post("/state").headers["allow"] == "GET, PATCH"


def test_what_changes_something_asks_for_the_token(served: Served) -> None:
    key = new()
    good(put(served.client, key, 1))
    refused = [
        put(served.stranger, key, 2),
        served.stranger.patch("/state", json={"set": {key: 2}}),
        served.stranger.delete(f"/state/{key}"),
    ]
    assert [response.status_code for response in refused] == [401, 401, 401]
    assert good(served.stranger.get(f"/state/{key}"))["value"] == 1


def test_health_and_what_is_in_force(served: Served) -> None:
    assert good(served.stranger.get("/state/health")) == {"status": "ok"}
    assert good(served.stranger.get("/state/ready")) == {"ready": True, "reasons": []}
    status = good(served.stranger.get("/state/status"))
    assert (status["actor"], status["authenticated"], status["durable"]) == ("state", True, False)


@pytest.mark.usefixtures("embedded_ray")
def test_replicas_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replicas in this process, which share nothing but the owner's name."""
    monkeypatch.setenv("COGNITIVE_TIMEOUT_S", "60")
    name = new()
    apps = [State(StateArguments(actor=name)).__serve_build_asgi_app__() for _ in range(2)]

    async def ask() -> None:
        transports = [httpx.ASGITransport(app, raise_app_exceptions=False) for app in apps]
        one, other = (httpx.AsyncClient(transport=each, base_url="http://here") for each in transports)
        async with one, other:
            first = await one.put("/a", json={"value": 1}, headers={"Idempotency-Key": "x"})
            again = await other.put("/a", json={"value": 1}, headers={"Idempotency-Key": "x"})
            assert good(first) == good(again) and good(first)["version"] == 1
            stale = {"If-Match": (await one.get("/a")).headers["etag"]}
            good(await other.put("/a", json={"value": 2}))
            assert (await one.put("/a", json={"value": 3}, headers=stale)).status_code == 412
            found = [good(await client.get("/")) for client in (one, other)]
            assert [{**x, "age": 0} for x in found] == [{**found[0], "age": 0}] * 2
            assert found[0]["values"] == {"a": 2}

    asyncio.run(ask())
