"""The page's service in this process, over HTTP and without Ray: what it sees is made up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from ports import free_port

from cognitive_actors.serve.viewers import Viewers

_UP_SECONDS = 60.0


@dataclass(frozen=True)
class Watched:
    """A service that is up. ``client`` is nobody in particular."""

    client: httpx.Client
    viewers: Viewers

    @property
    def idle(self) -> bool:
        """Whether nobody looks any more."""
        return self.viewers._looking is None or self.viewers._looking.done()

    @contextmanager
    def viewer(self) -> Iterator[Iterator[dict[str, Any]]]:
        """Somebody who watches, and what they are told."""
        with self.client.stream("GET", "/events") as response:
            assert response.status_code == 200
            told = events_of(response)
            yield told


def events_of(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """What a stream of events says. Who drops it, leaves."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def made_up(look: int) -> dict[str, Any]:
    """An organism of two agents. look: which one it is, and its steps."""
    return {
        "phase": "ready",
        "agents": 2,
        "steps": look,
        "modulators": {"dopamine": {"mean": 0.5, "spread": 0.1}},
        "workspace": [{"modality": "<b>weather</b>", "share": 0.5, "salience": 0.25}],
        "free_energy": 1.5,
        "nodes": {"alive": 1, "dead": 0},
    }


@contextmanager
def watched(places: int, port: int | None = None) -> Iterator[Watched]:
    """The service at a port of this machine, for so many viewers at a time. Each look sees one step more."""
    import uvicorn

    from cognitive_actors.serve.page import Page, PageArguments

    looks = 0

    async def look() -> dict[str, Any]:
        nonlocal looks
        looks += 1
        return made_up(looks)

    page = Page(PageArguments())
    page.viewers = Viewers(look, places)
    port = free_port() if port is None else port
    config = uvicorn.Config(
        page.__serve_build_asgi_app__(), port=port, log_level="critical", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    end = time.monotonic() + _UP_SECONDS
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end, "the service does not come up"
        time.sleep(0.01)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield Watched(client, page.viewers)
    finally:
        server.should_exit = True
        thread.join()
