"""One request to a model, on whichever pool serves it: another one is asked where the first fails before it has said
anything, since nobody has seen a difference then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from typing import Any, TypeVar

import ray
from ray.exceptions import RayActorError, RayTaskError

from .errors import CoordinatorFailed, DeadlineExceeded
from .events import Done
from .loading import cause_of
from .router_actor import Route

__all__ = ["Requests"]

#: Pools that one request is given to, one after the other.
TRIES = 3
T = TypeVar("T")


class Requests:
    """Requests by way of a router's actor."""

    def __init__(self, router: Any) -> None:
        self._router = router
        self._routes: dict[str, Route] = {}

    async def chat(self, model: str, body: dict[str, Any], seconds: float) -> dict[str, Any]:
        """A whole answer, in the words of OpenAI's chat completions.

        Raises CoordinatorFailed after three pools, DeadlineExceeded, PoolBusy, RequestRefused, and what keeps the model
        from being loaded.
        """
        end = time.monotonic() + seconds
        for left in reversed(range(TRIES)):
            route = await self._route(model, end)
            answer = route.pool.chat.remote(body, end - time.monotonic())
            try:
                found: dict[str, Any] = await _until(end, answer)
                return found
            except (RayActorError, RayTaskError) as error:
                await self._again(model, route, error, left)
            except BaseException:
                # Nobody waits for it any more.
                ray.cancel(answer)
                raise
        raise AssertionError("the last try raises")

    async def stream(self, model: str, body: dict[str, Any], seconds: float) -> AsyncGenerator[bytes | Done, None]:
        """An answer as it is made: the JSON of each chunk, and at the end one Done. Without it, it is not whole.

        Raises as ``chat`` does; CoordinatorFailed also in mid-stream. Closing it cancels the request.
        """
        end = time.monotonic() + seconds
        for left in reversed(range(TRIES)):
            route, begun = await self._route(model, end), False
            items = route.pool.stream.options(num_returns="streaming").remote(body, end - time.monotonic())
            try:
                async for item in items:
                    event: bytes | Done = await item
                    begun = True
                    yield event
                    if isinstance(event, Done):
                        return
                error: Exception = CoordinatorFailed("the stream ended without its end")
            except (RayActorError, RayTaskError) as raised:
                error = raised
            except BaseException:
                # Nobody listens any more.
                ray.cancel(items)
                raise
            await self._again(model, route, error, 0 if begun else left)

    async def _route(self, model: str, end: float) -> Route:
        if model not in self._routes:
            try:
                self._routes[model] = Route(*await _until(end, self._router.acquire.remote(model)))
            except (RayActorError, RayTaskError) as error:
                raise cause_of(error) from error
        return self._routes[model]

    async def _again(self, model: str, route: Route, error: Exception, left: int) -> None:
        """Tell the router who has failed; raises the error if it is not that, or if no try is left."""
        cause = cause_of(error)
        if not isinstance(cause, CoordinatorFailed):
            raise cause from error
        if self._routes.get(model) == route:
            del self._routes[model]
        await self._router.failed.remote(model, route.number, cause.why, cause.suspects)
        if not left:
            raise cause from error


async def _until(end: float, answer: Awaitable[T]) -> T:
    """What is answered until a moment of the monotonic clock. Raises DeadlineExceeded."""

    async def answered() -> T:
        return await answer

    try:
        return await asyncio.wait_for(answered(), max(0.0, end - time.monotonic()))
    except TimeoutError:
        raise DeadlineExceeded("no answer within the time that the caller gave") from None
