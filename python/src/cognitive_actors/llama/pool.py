"""A model that runs on the cluster, as an actor: one coordinator, and who may ask it when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ray

from ..placement import Plan
from .coordinator import LlamaCppCoordinator
from .errors import CoordinatorFailed, DeadlineExceeded, RequestRefused
from .events import Done, Failure, Loaded, Status
from .turns import Turns

__all__ = ["Pool", "ShardedModelPool"]


@dataclass
class _Turn:
    """left: seconds for the answer; well: whether it was complete, or refused."""

    left: float
    well: bool = False


class Pool:
    """One coordinator on this node. It fails once and for all: whoever made it plans anew.

    plan, model, base_port: as in LlamaCppCoordinator; parallel: requests at llama-server at once; waiting: how many may
    wait for that, in order; check_every: seconds without a request after which a token is computed to see that all are
    there; check_seconds: that this may take.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        model: str | None = None,
        base_port: int | None = None,
        waiting: int = 8,
        parallel: int = 1,
        check_every: float = 10.0,
        check_seconds: float = 10.0,
    ) -> None:
        self._coordinator = LlamaCppCoordinator(plan, base_port=base_port, model=model)
        self._turns = Turns(parallel, waiting)
        self._check_every, self._check_seconds = check_every, check_seconds
        self._served = 0
        self._failure: Failure | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, seconds: float) -> Loaded:
        """Load the model. Raises CoordinatorFailed where it does not answer within ``seconds``; nothing then runs."""
        try:
            await self._coordinator.start(seconds)
        except CoordinatorFailed as failed:
            self._fail(Failure(failed.why, failed.suspects))
            raise
        self._begin(self._watch())
        self._begin(self._check_when_idle())
        node = str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""
        return Loaded(self._coordinator.port, self._coordinator.pid, self._coordinator.compute, node)

    async def stream(self, body: Mapping[str, Any], seconds: float) -> AsyncGenerator[bytes | Done, None]:
        """The chunks of a chat completion of OpenAI's API, JSON each, as they come, and Done at the end.

        seconds: until Done, waiting for a turn included. Raises PoolBusy, with nothing done, and what
        LlamaCppCoordinator.stream raises. Cancelling it (``ray.cancel`` of what the call gave) cancels the request. Of
        a caller that dies, or forgets what it was given, Ray does not tell: its turn ends with its ``seconds``.
        """
        async with self._turn(seconds) as turn, aclosing(self._coordinator.stream(body, turn.left)) as events:
            async for event in events:
                if isinstance(event, Done):
                    self._served, turn.well = self._served + 1, True
                yield event

    async def chat(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The whole answer to a chat completion of OpenAI's API. As ``stream`` otherwise."""
        async with self._turn(seconds) as turn:
            answer = await self._coordinator.chat(body, turn.left)
            self._served, turn.well = self._served + 1, True
            return answer

    async def health(self, seconds: float) -> None:
        """Have one token computed by all who take part, after the requests that came before.

        Raises CoordinatorFailed, and the pool failed, where that takes more than ``seconds``; DeadlineExceeded where
        the requests before did.
        """
        await self._take(seconds, limited=False)
        try:
            await self._coordinator.check(seconds)
        finally:
            self._turns.give()

    async def status(self) -> Status:
        """What is under way; of checks as well."""
        failed = self._failure.why if self._failure else None
        return Status(self._turns.in_flight, self._turns.waiting, self._served, failed)

    async def wait_failed(self) -> Failure | None:
        """Wait until the pool fails, and say how; None where it was stopped instead."""
        failure = await self._coordinator.failed()
        return Failure(failure.why, failure.suspects) if failure else None

    async def stop(self) -> None:
        """End the model server: what is under way or waits fails."""
        self._turns.close("the pool was stopped", ())
        for task in tuple(self._tasks):
            task.cancel()
        await self._coordinator.stop()

    async def _take(self, seconds: float, *, limited: bool = True) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._turns.take(limited=limited)
        except TimeoutError:
            raise DeadlineExceeded(f"the requests before took {seconds:g} s; ask later, or give more time") from None

    @asynccontextmanager
    async def _turn(self, seconds: float) -> AsyncGenerator[_Turn, None]:
        """A turn. One that did not end well is followed by a check before the next: it may be the server that is at
        fault, and not the caller who left.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        await self._take(seconds)
        turn = _Turn(end - clock())
        try:
            yield turn
        except RequestRefused:
            turn.well = True
            raise
        except DeadlineExceeded:
            waited = f" after {seconds - turn.left:.1f} s of waiting" if turn.left < seconds - 0.1 else ""
            raise DeadlineExceeded(
                f"the answer was not complete within {seconds:g} s{waited}; ask for fewer tokens, or give more time"
            ) from None
        finally:
            if turn.well:
                self._turns.give()
            else:
                self._begin(self._check_and_give())

    async def _check_and_give(self) -> None:
        try:
            with suppress(CoordinatorFailed):
                await self._coordinator.check(self._check_seconds)
        finally:
            self._turns.give()

    async def _check_when_idle(self) -> None:
        while self._failure is None:
            await asyncio.sleep(self._check_every)
            if self._turns.idle:
                with suppress(CoordinatorFailed):
                    await self._turns.take()
                    await self._check_and_give()

    async def _watch(self) -> None:
        if (failure := await self.wait_failed()) is not None:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self._failure = failure
        self._turns.close(*failure)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        # The loop alone would forget a task that nobody else holds.
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


#: The pool as an actor. It takes the plan's leases as resources, ends with them, and is not restarted: what it stood on
#: may be gone. Call ``stream`` with ``num_returns="streaming"``.
ShardedModelPool = ray.remote(num_cpus=0, max_restarts=0, max_concurrency=1000)(Pool)
