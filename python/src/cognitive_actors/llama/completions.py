"""What is asked of a llama-server over HTTP, on this machine."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from .errors import RequestRefused
from .events import Done

__all__ = ["BROKEN", "BrokenOff", "Completions"]

#: Characters of a refusal that are passed on.
_WHY = 1000
#: Bytes that are read ahead; a line of an answer, with probabilities, may be as long as twice that.
_AHEAD = 1 << 20


class BrokenOff(Exception):
    """An answer ended before it was complete, or was none."""


#: What shows that the server does not answer as it should, rather than that it refuses.
BROKEN = (aiohttp.ClientError, OSError, BrokenOff)


class Completions:
    """The llama-server on a port of the loopback interface. key: that it asks for. To be closed.

    No deadlines here. Raises RequestRefused for what the server refuses, and one of BROKEN where it does not answer.
    """

    def __init__(self, port: int, key: str) -> None:
        # A connection for each request: one that is kept may be closed by the server as it is used again, which could
        # not be told from the server's end. On loopback a new one takes a tenth of a millisecond.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(
            f"http://127.0.0.1:{port}",
            connector=connector,
            headers={"Authorization": f"Bearer {key}"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            read_bufsize=_AHEAD,
            # Not through a proxy, whatever the surroundings say.
            trust_env=False,
        )

    async def close(self) -> None:
        await self._session.close()

    async def loaded(self) -> bool:
        """Whether the server listens and has its model. That it could compute is not said."""
        try:
            async with self._session.get("/health") as answer:
                return answer.status == 200
        except BROKEN:
            return False

    async def one_token(self) -> None:
        """Have one token computed, by all who take part."""
        body = {"prompt": "a", "n_predict": 1, "temperature": 0, "stream": False}
        async with self._answered("/completion", body) as answer:
            _object(await answer.read())

    async def chat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request of OpenAI's API, whole."""
        whole = {name: value for name, value in body.items() if name != "stream_options"} | {"stream": False}
        async with self._answered("/v1/chat/completions", whole) as answer:
            return _object(await answer.read())

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[bytes | Done, None]:
        """The chunks of an answer as they come, each as JSON, and Done. Leaving it early cancels the request.

        The chunk that has nothing but usage is one of them where the request asks for it itself.
        """
        options = body.get("stream_options")
        asked = isinstance(options, Mapping) and bool(options.get("include_usage"))
        counted = {**(options if isinstance(options, Mapping) else {}), "include_usage": True}
        parts = {**body, "stream": True, "stream_options": counted}
        reason = ""
        usage: dict[str, Any] = {}
        async with self._answered("/v1/chat/completions", parts) as answer:
            async for line in answer.content:
                if not line.startswith(b"data: "):
                    continue  # Between events, or a comment that keeps the connection.
                chunk = line[6:].rstrip()
                if chunk == b"[DONE]":
                    yield Done(reason, usage)
                    return
                # Of most chunks nothing has to be known: the quotes of a text would be escaped.
                if b'"finish_reason":null' not in chunk:
                    said = _object(chunk)
                    reason, usage = _reason(said) or reason, said.get("usage") or usage
                    if not said.get("choices") and not asked:
                        continue
                yield chunk
            raise BrokenOff("the answer ended before its last event")

    @asynccontextmanager
    async def _answered(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """The answer to a request that is not refused."""
        try:
            async with self._session.post(path, json=body) as answer:
                try:
                    if answer.status != 200:
                        raise RequestRefused(answer.status, _message(await answer.read()))
                    yield answer
                finally:
                    # Closed rather than given back: the server then ends what nobody waits for.
                    answer.close()
        except LineTooLong as error:
            why = f"an event of the answer has more than {2 * _AHEAD} bytes; ask for fewer probabilities"
            raise RequestRefused(400, why) from error
        except RuntimeError as error:
            if not self._session.closed:
                raise
            raise BrokenOff("the connection was closed at this end") from error


def _message(body: bytes) -> str:
    text = body.decode(errors="replace")
    with suppress(ValueError, LookupError, TypeError):
        text = str(json.loads(text)["error"]["message"])
    return text[:_WHY] or "llama-server does not say why"


def _object(chunk: bytes) -> dict[str, Any]:
    """An answer, or an event of one. Raises what an error among the events stands for."""
    try:
        said = json.loads(chunk)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise BrokenOff(f"what came is no object: {chunk[:200]!r}")
    error = said.get("error")
    if isinstance(error, dict):
        code = error.get("code")
        raise RequestRefused(code if isinstance(code, int) else 500, str(error.get("message"))[:_WHY])
    return said


def _reason(said: Mapping[str, Any]) -> str:
    return next((each["finish_reason"] for each in said.get("choices", ()) if each.get("finish_reason")), "")
