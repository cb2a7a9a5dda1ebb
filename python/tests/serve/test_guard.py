"""What a request must pass, on a real application in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from cognitive_actors.cluster import ClusterError
from cognitive_actors.serve.application import application
from cognitive_actors.serve.guard import CHANGES, take_longer
from cognitive_actors.serve.problems import MEDIA_TYPE
from cognitive_actors.serve.settings import ServiceSettings

SECRET = "/etc/secret in a message"


def made(**settings: Any) -> FastAPI:
    app = application("sample", "A sample.", ServiceSettings(**settings))

    @app.post("/echo")
    async def echo(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @app.post("/change", dependencies=CHANGES)
    async def change() -> str:
        return "changed"

    @app.get("/sleep")
    async def sleep(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slept"

    @app.get("/linger")
    async def linger(request: Request, allowed: float, seconds: float) -> str:
        take_longer(request, allowed)
        await asyncio.sleep(seconds)
        return "slept"

    @app.get("/drip")
    async def drip() -> StreamingResponse:
        async def drops() -> AsyncIterator[bytes]:
            for _ in range(4):
                await asyncio.sleep(0.5)
                yield b"drop\n"

        return StreamingResponse(drops())

    @app.get("/fault")
    async def fault() -> None:
        raise KeyError(SECRET)

    @app.get("/away")
    async def away() -> None:
        raise ClusterError(SECRET)

    return app


def asked(app: FastAPI, question: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    async def ask() -> Any:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await question(client)

    return asyncio.run(ask())


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    assert response.headers["content-type"] == MEDIA_TYPE
    found: dict[str, Any] = response.json()
    assert found["status"] == status and found["detail"]
    return found


def test_a_request_within_its_limits_passes() -> None:
    response = asked(made(), lambda client: client.post("/echo", json={"a": 1}))
    assert (response.status_code, response.json()) == (200, {"a": 1})


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(announced: bool) -> None:
    body = json.dumps({"a": "x" * 1000}).encode()

    async def parts() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), 100):
            yield body[begin : begin + 100]

    def send(client: httpx.AsyncClient) -> Awaitable[httpx.Response]:
        kind = {"Content-Type": "application/json"}
        return client.post("/echo", content=body if announced else parts(), headers=kind)

    assert "more than 1000 bytes" in problem(asked(made(body=1000), send), 413)["detail"]
    assert asked(made(body=len(body)), send).status_code == 200


def test_a_request_that_takes_too_long_is_given_up() -> None:
    response = asked(made(timeout=0.1), lambda client: client.get("/sleep?seconds=60"))
    assert "within 0.1 s" in problem(response, 504)["detail"]


def test_a_request_may_be_given_longer_than_others() -> None:
    def ask(allowed: float, seconds: float) -> Any:
        place = f"/linger?allowed={allowed}&seconds={seconds}"
        return asked(made(timeout=1.0), lambda client: client.get(place))

    assert ask(60, 2.5).json() == "slept"
    assert "within 1.5 s" in problem(ask(1.5, 60), 504)["detail"]
    # Never shorter.
    assert "within 1 s" in problem(ask(0.5, 60), 504)["detail"]


def test_a_reply_that_has_begun_takes_its_time() -> None:
    response = asked(made(timeout=1.25), lambda client: client.get("/drip"))
    assert response.text == "drop\n" * 4


def test_too_many_at_a_time_are_told_when_to_come_again() -> None:
    async def crowd(client: httpx.AsyncClient) -> tuple[list[httpx.Response], httpx.Response, httpx.Response]:
        responses = await asyncio.gather(*(client.get("/sleep?seconds=0.3") for _ in range(5)))
        return responses, await client.get("/sleep?seconds=0"), await client.get("/health")

    responses, later, health = asked(made(in_flight=3), crowd)
    assert sorted(response.status_code for response in responses) == [200, 200, 200, 429, 429]
    refused = next(response for response in responses if response.status_code == 429)
    problem(refused, 429)
    assert refused.headers["retry-after"] == "1"
    assert (later.status_code, health.status_code) == (200, 200)


def test_who_watches_is_answered_when_it_is_busy() -> None:
    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        busy = asyncio.ensure_future(client.get("/sleep?seconds=0.5"))
        await asyncio.sleep(0.1)
        health = await client.get("/health")
        assert not busy.done()
        await busy
        return health

    assert asked(made(in_flight=1), ask).json() == {"status": "ok"}


def test_a_change_asks_for_the_token() -> None:
    def change(*headers: str) -> Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]:
        return lambda client: client.post("/change", headers=[("Authorization", header) for header in headers])

    app = made(token="right")
    assert asked(app, change("Bearer right")).json() == "changed"
    for wrong in ([], ["Bearer wrong"], ["Basic right"], ["Bearer"], ["Bearer rightly"], ["right"]):
        response = asked(app, change(*wrong))
        problem(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"
    assert asked(made(), change()).json() == "changed"


def test_a_fault_says_nothing_of_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    response = asked(made(), lambda client: client.get("/fault", headers={"X-Request-ID": "abc"}))
    assert problem(response, 500)["request_id"] == "abc"
    assert SECRET not in response.text and "KeyError" not in response.text
    assert SECRET in caplog.text


def test_a_cluster_that_is_away_is_no_fault() -> None:
    response = asked(made(), lambda client: client.get("/away"))
    problem(response, 503)
    assert response.headers["retry-after"] == "1" and SECRET not in response.text


def test_what_is_wrong_with_a_request_is_said_with_its_place() -> None:
    response = asked(made(), lambda client: client.get("/sleep?seconds=long"))
    found = problem(response, 422)
    assert found["detail"].startswith("query.seconds: ") and found["errors"][0]["where"] == ["query", "seconds"]


def test_unknown_places_and_methods_are_problems_too() -> None:
    problem(asked(made(), lambda client: client.get("/nowhere")), 404)
    problem(asked(made(), lambda client: client.get("/echo")), 405)
