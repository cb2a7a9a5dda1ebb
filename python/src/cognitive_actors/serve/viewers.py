"""Those who watch: one look for all of them, so long as there is somebody, and a place for each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from .problems import RETRY_SECONDS, Refused

#: Between looks; how long a stream lasts, so that a replica that is to end waits no longer for its viewers; and until
#: they come again, in milliseconds. Choices.
LOOK_SECONDS, STREAM_SECONDS, RETURN_MS = 0.5, 15.0, 250
_HEADERS = {
    "Cache-Control": "no-store",
    # A proxy is not to collect events.
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}


class Viewers:
    """Who watches what ``look`` sees, in one process and one event loop."""

    def __init__(self, look: Callable[[], Awaitable[dict[str, Any]]], places: int) -> None:
        """look: called every LOOK_SECONDS while somebody watches; places: viewers at a time."""
        self._look, self.places = look, places
        self.present = 0
        self._latest: bytes | None = None
        self._told = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    @property
    def full(self) -> str | None:
        """Why nobody else can watch here; None while there is a place."""
        return f"all {self.places} places of viewers are taken" if self.present >= self.places else None

    @contextmanager
    def place(self) -> Iterator[None]:
        """A viewer's place. Raises Refused (429) where there is none."""
        if self.full is not None:
            raise Refused(429, f"{self.full}; try again", {"Retry-After": str(RETRY_SECONDS)})
        self.present += 1
        try:
            yield
        finally:
            self.present -= 1

    async def events(self) -> AsyncIterator[bytes]:
        """What is seen, as server-sent events, for STREAM_SECONDS. Who reads slowly misses looks, never the last."""
        loop = asyncio.get_running_loop()
        end = loop.time() + STREAM_SECONDS
        if self._looking is None or self._looking.done():
            self._looking = loop.create_task(self._keep_looking())
        yield f"retry: {RETURN_MS}\n\n".encode()
        seen: bytes | None = None
        while (left := end - loop.time()) > 0:
            latest, told = self._latest, self._told
            if latest is not None and latest is not seen:
                seen = latest
                yield latest
                continue
            try:
                await asyncio.wait_for(told.wait(), left)
            except TimeoutError:
                return

    async def _keep_looking(self) -> None:
        try:
            while self.present:
                self._latest = event_of(await self._look())
                told, self._told = self._told, asyncio.Event()
                told.set()
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            # Who comes later is not shown what is old.
            self._latest = None


def event_of(content: dict[str, Any]) -> bytes:
    """A server-sent event of JSON, which has no line breaks."""
    return f"data: {json.dumps(content)}\n\n".encode("ascii")


class Stream(StreamingResponse):
    """What a viewer is sent. The place is taken when it begins, and free when it ends, whoever ends it."""

    media_type = "text/event-stream"

    def __init__(self, viewers: Viewers) -> None:
        super().__init__(viewers.events(), headers=_HEADERS)
        self._viewers = viewers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._viewers.place():
            await super().__call__(scope, receive, send)
