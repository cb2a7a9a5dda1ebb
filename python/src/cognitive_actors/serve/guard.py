"""What every request passes first: how large it may be, how many at a time, how long, and by whom."""

from __future__ import annotations

import asyncio
import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import RETRY_SECONDS, Refused, request_id, response
from .settings import ServiceSettings

#: Asked by whoever watches the service, also when it is busy.
WATCHED = ("/health", "/ready", "/status")
_PASSAGE = "cognitive_actors.passage"
_bearer = HTTPBearer(auto_error=False, description="The services' token, or the cluster's where they have none.")


class Guard:
    """ASGI middleware. A request that passes no limit is answered by a problem, and never reaches the application."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings) -> None:
        self._app, self._settings = app, settings
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_watched(scope):
            await self._app(scope, receive, send)
            return
        passage = _Passage(self._settings, receive, send)
        scope = {**scope, _PASSAGE: passage}
        if self._in_flight >= self._settings.in_flight:
            busy = f"{self._in_flight} requests are under way here; try again"
            later = Refused(429, busy, {"Retry-After": str(RETRY_SECONDS)})
            await response(later, request_id(scope))(scope, receive, send)
            return
        self._in_flight += 1
        refused: Refused | None = None
        try:
            async with asyncio.timeout(self._settings.timeout) as passage.deadline:
                if passage.is_announced_too_large(scope):
                    refused = passage.too_large()
                else:
                    await self._app(scope, passage.receive, passage.send)
                    refused = passage.refused
        except TimeoutError:
            if not passage.deadline.expired() or passage.answered:
                raise
            refused = Refused(504, f"no answer within {passage.seconds:g} s; ask for less at a time, or later")
        finally:
            self._in_flight -= 1
        if refused is not None and not passage.answered:
            await response(refused, request_id(scope))(scope, receive, send)


def _is_watched(scope: Scope) -> bool:
    # Only where it is the service's own place: what clients name may end alike.
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    return scope["method"] in ("GET", "HEAD") and path in WATCHED


class _Passage:
    """One request on its way: the bytes that have come, why it is refused, and whether an answer has begun."""

    def __init__(self, settings: ServiceSettings, receive: Receive, send: Send) -> None:
        self._most, self._receive, self._send = settings.body, receive, send
        self._bytes, self.answered = 0, False
        self.seconds = settings.timeout
        self.refused: Refused | None = None
        self.deadline = asyncio.timeout(None)

    def is_announced_too_large(self, scope: Scope) -> bool:
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        return any(value.isdigit() and int(value) > self._most for value in lengths)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            if self._bytes > self._most:
                self.refused = self.too_large()
                raise self.refused
        return message

    async def send(self, message: Message) -> None:
        if self.refused is not None and not self.answered:
            return  # FastAPI would say that the body is no JSON.
        if not self.answered:
            self.answered = True
            # A long reply takes as long as it takes its reader.
            self.deadline.reschedule(None)
        await self._send(message)

    def longer(self, seconds: float) -> None:
        if seconds > self.seconds and not self.answered:
            self.seconds = seconds
            self.deadline.reschedule(asyncio.get_running_loop().time() + seconds)

    def too_large(self) -> Refused:
        return Refused(413, f"the body has more than {self._most} bytes; send it in parts")


def take_longer(request: Request, seconds: float) -> None:
    """Give a request seconds from now on, where that is more than all have. To be called once it has shown that it is
    worth them: with its body come, and its token looked at."""
    request.scope[_PASSAGE].longer(seconds)


async def check_token(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let pass who presents the token, where there is one. Raises Refused (401)."""
    token: str | None = request.app.state.settings.token
    if token is None:
        return
    given = credentials.credentials if credentials is not None else ""
    if not hmac.compare_digest(given.encode(), token.encode()):
        said = "the token is another one" if given else "a token is asked for; send Authorization: Bearer TOKEN"
        raise Refused(401, said, {"WWW-Authenticate": "Bearer"})


#: For every call that changes something.
CHANGES = [Depends(check_token)]
