"""The page at ``/`` over HTTP: its files, what they may do, and the events that all viewers of a replica share."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from processes import wait_until
from served import Served, initialised
from watched import Watched, events_of, watched

from cognitive_actors.serve import sight, viewers
from cognitive_actors.serve.config import SERVICES, prefix
from cognitive_actors.serve.lifecycle import NOT_INITIALISED
from cognitive_actors.serve.problems import away
from cognitive_actors.serve.sight import Sight

#: Of the page and of its files.
REFERENCE = re.compile(r"""(?:href|src|from)\s*=?\s*"(?:\./)?([^"#]+)\"""")
LATER = 60.0


@pytest.fixture
def here() -> Iterator[Watched]:
    """A replica's own process, where two may watch."""
    with watched(places=2) as running:
        yield running


def test_the_page_is_made_of_its_own_files(served: Served) -> None:
    page = served.stranger.get("/")
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    left, seen = [("/", page)], {"/"}
    while left:
        place, response = left.pop()
        assert response.status_code == 200, place
        policy = response.headers["content-security-policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} < set(policy)
        assert "unsafe" not in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        # The name of SVG is no address that anybody asks.
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|url\(|@import|innerHTML|style=", response.text)
        again = served.stranger.get(place, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        found = {str(httpx.URL(place).join(name)) for name in REFERENCE.findall(response.text)} - seen
        seen |= found
        left += [(each, served.stranger.get(each)) for each in found]
    kinds = {place: served.stranger.get(place).headers["content-type"].partition(";")[0] for place in seen}
    assert {"text/html", "text/css", "text/javascript", "image/svg+xml"} == set(kinds.values()), kinds
    assert "/files/charts.js" in kinds


def test_the_page_is_in_nobodys_way(served: Served) -> None:
    for service in SERVICES:
        base = prefix(service).rstrip("/")
        assert served.stranger.get(f"{base}/status").json()["service"] == service
        assert served.stranger.get(f"{base}/openapi.json").json()["info"]["title"] == service
        assert served.stranger.get(f"{base}/docs").headers["content-type"].startswith("text/html")
    for place in ("/nowhere", "/files/nothing.js", "/files/..%2fpage.py", "/organisms", "/-/nothing"):
        unknown = served.stranger.get(place)
        assert unknown.status_code == 404 and unknown.json()["title"] == "Not Found"
    assert served.client.post("/events").status_code == 405


def test_events_say_what_the_overview_says(served: Served) -> None:
    initialised(served.client)
    served.client.post("/cognitive/execute", json={"agent": "watched", "observation": {"weather": "rain"}})
    with served.stranger.stream("GET", "/events") as response:
        assert response.status_code == 200
        assert response.headers["content-type"].partition(";")[0] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store"
        events = events_of(response)
        # The machines may take a moment longer.
        seen = next(event for event in events if event["phase"] == "ready" and event["nodes"])
        overview = served.stranger.get("/organism/overview").json()
    assert seen == {"phase": "ready", **overview}
    # Who leaves is no viewer any more, also behind the proxy.
    wait_until(lambda: served.stranger.get("/status").json()["viewers"] == 0, served.process)


def test_a_stream_ends_by_itself(served: Served) -> None:
    for _ in range(2):
        with served.stranger.stream("GET", "/events") as response:
            lines = response.iter_lines()
            assert next(lines).startswith("retry: ")
            # httpx raises where a chunked answer is cut off instead.
            assert any(line.startswith("data: ") for line in lines)


def test_all_viewers_share_a_look(here: Watched) -> None:
    with here.viewer() as one, here.viewer() as other:
        looks = [(next(one)["steps"], next(other)["steps"]) for _ in range(5)]
        # Counted by looking: twice as many looks as events would leave some out.
        assert [b - a for a, b in zip(looks[0], looks[-1], strict=True)] == [4, 4], looks
    wait_until_there(lambda: here.viewers.present == 0)
    wait_until_there(lambda: here.idle)


def test_a_viewer_takes_a_place_until_it_leaves(here: Watched) -> None:
    with here.viewer() as one:
        next(one)
        with here.viewer() as other:
            next(other)
            refused = here.client.get("/events")
            assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
            assert "all 2 places" in refused.json()["detail"]
            assert here.client.get("/ready").json() == {
                "ready": False,
                "reasons": ["all 2 places of viewers are taken"],
            }
            # The page itself is for all.
            assert here.client.get("/").status_code == 200
        wait_until_there(lambda: here.client.get("/ready").status_code == 200)
        with here.viewer() as other:
            assert next(other)["phase"] == "ready"


def wait_until_there(condition: Any) -> None:
    """Wait for what another thread does."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0.02)

    asyncio.run(asyncio.wait_for(look(), LATER))


class Agents:
    """Agents that answer when they are let, and are absent when told."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.absent: tuple[str, str] | None = None

    async def ask(self, method: str) -> dict[str, Any]:
        assert method == "overview"
        self.asked += 1
        return await asyncio.shield(self.answer)

    async def absence(self) -> tuple[str, str] | None:
        return self.absent


def test_why_there_is_nothing_to_see_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nodes() -> dict[str, int]:
        return {"alive": 2, "dead": 1}

    monkeypatch.setattr(sight, "nodes", nodes)
    monkeypatch.setattr(sight, "PATIENCE_SECONDS", 0.02)

    async def look() -> None:
        agents = Agents()
        seen = Sight(agents)  # type: ignore[arg-type]
        for _ in range(3):
            assert await seen.look() == {
                "phase": "starting",
                "reason": "the agents are starting",
                "nodes": {"alive": 2, "dead": 1},
            }
        # What does not answer is not asked again and again.
        assert agents.asked == 1
        agents.answer.set_result({"agents": 3})
        await asyncio.sleep(0)
        assert await seen.look() == {"phase": "ready", "agents": 3, "nodes": {"alive": 2, "dead": 1}}
        agents.answer = asyncio.get_running_loop().create_future()
        assert (await seen.look())["phase"] == "not answering"
        agents.absent = ("stopping", "the agents are being shut down")
        assert (await seen.look())["reason"] == "the agents are being shut down"
        agents.answer.set_exception(away(NOT_INITIALISED))
        agents.absent = ("not initialised", NOT_INITIALISED)
        assert (await seen.look())["phase"] == "not initialised"
        agents.answer = asyncio.get_running_loop().create_future()
        agents.answer.set_exception(RuntimeError("secret"))
        agents.absent = None
        found = await seen.look()
        assert found["phase"] == "not answering" and "secret" not in found["reason"]

    asyncio.run(look())


def test_an_answer_that_nobody_waited_for_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask() -> None:
        asked: list[asyncio.Future[int]] = []

        def answer() -> asyncio.Future[int]:
            asked.append(asyncio.get_running_loop().create_future())
            return asked[-1]

        question = sight.Question(answer)
        for seconds, expected in ((60.0, 1), (-1.0, 2)):
            monkeypatch.setattr(sight, "FRESH_SECONDS", seconds)
            asked.clear()
            assert await question.answer(0.0) is None
            asked[0].set_result(1)
            await asyncio.sleep(0)
            later = asyncio.ensure_future(question.answer(LATER))
            await asyncio.sleep(0)
            if not asked[-1].done():
                asked[-1].set_result(2)
            assert await later == expected and len(asked) == expected

    asyncio.run(ask())


def test_an_event_is_one_line_whatever_is_in_it() -> None:
    content = {"agent": 'a\r\n\n\u2028data: "ä"'}
    event = viewers.event_of(content)
    assert event.count(b"\n") == 2 and event.isascii() and b"\r" not in event
    assert json.loads(event.removeprefix(b"data: ")) == content
