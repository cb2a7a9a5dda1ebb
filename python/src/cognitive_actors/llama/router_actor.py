"""Which pools there are: made when their model is asked for, watched, planned anew on the survivors when they fail."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from ..placement import DoesNotFit
from .errors import CoordinatorFailed, PoolBusy
from .loading import Loader, Serving, cause_of
from .options import RouterOptions
from .reservation import release_inherited

__all__ = ["Route", "RouterActor"]

logger = logging.getLogger(__name__)
#: Seconds between attempts to replace a pool that has failed, when nobody asks for it: doubled from the first on.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0


class Route(NamedTuple):
    """Where requests for a model go. pool: its actor; number: of the pool, to say which one has failed."""

    pool: Any
    number: int


class Router:
    """At most ``num_pools`` pools, each with one model. An asker waits for a model that is being loaded."""

    def __init__(self, options: RouterOptions) -> None:
        self.options = options
        self._loader = Loader(options)
        self._pools: dict[str, tuple[int, Serving]] = {}
        self._asked: dict[str, float] = {}
        self._watchers: dict[int, asyncio.Task[None]] = {}
        self._loading: dict[str, asyncio.Task[Route]] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._replacing: set[asyncio.Task[None]] = set()
        self._count = 0
        self._room = asyncio.Lock()
        self._inherited = ray.is_initialized() and ray.get_runtime_context().was_current_actor_reconstructed

    async def acquire(self, model: str) -> Route:
        """The pool that serves a model, loaded first where there is none.

        Raises what :meth:`Loader.load` raises, and PoolBusy where all pools serve other models right now.
        """
        self._asked[model] = time.monotonic()
        if model in self._pools:
            number, serving = self._pools[model]
            return Route(serving.pool, number)
        if model not in self._loading:
            task = asyncio.create_task(self._load(model))
            self._loading[model] = task
            task.add_done_callback(lambda _: self._loading.pop(model, None))
        # One who waits no longer does not stop it for the others.
        return await asyncio.shield(self._loading[model])

    async def failed(self, model: str, number: int, why: str, suspects: tuple[str, ...]) -> None:
        """A pool has failed, as a caller saw it; suspects: as in CoordinatorFailed. Of a pool that has been replaced it
        says nothing."""
        await self._drop(model, number, CoordinatorFailed(why, suspects))

    async def release(self, model: str) -> bool:
        """End the pool of a model, whatever it does. Returns whether there was one."""
        if model not in self._pools:
            return False
        self._end(model)
        await asyncio.gather(*self._ending, return_exceptions=True)
        return True

    async def close(self) -> None:
        """End all pools, those too that are being made, and what this actor had before it was started again.

        What they held is free when this returns.
        """
        making = (*self._replacing, *self._loading.values())
        for task in making:
            task.cancel()
        await asyncio.gather(*making, return_exceptions=True)
        for model in list(self._pools):
            self._end(model)
        await asyncio.gather(*self._ending, return_exceptions=True)
        async with self._room:
            await self._give_back_inherited()

    async def pools(self) -> list[dict[str, Any]]:
        """Each pool: model, node of its coordinator, port on that node's loopback, and its layers."""
        return [
            {
                "model": model,
                "coordinator": serving.plan.coordinator,
                "port": serving.port,
                "kept": serving.plan.split.kept,
                "layers": {share.endpoint: share.units for share in serving.plan.split.shares},
            }
            for model, (_, serving) in self._pools.items()
        ]

    async def ready(self) -> str:
        """The name of the policy, once it is there."""
        return self.options.policy

    async def _load(self, model: str) -> Route:
        # One after the other: each plan is made of what the one before has left.
        async with self._room:
            await self._give_back_inherited()
            await asyncio.gather(*self._ending, return_exceptions=True)
            while len(self._pools) >= self.options.num_pools:
                if not await self._end_idle():
                    raise PoolBusy(len(self._pools))
            while True:
                try:
                    serving = await self._loader.load(model)
                    break
                except DoesNotFit:
                    # What an idle pool of ours holds may be what is missing.
                    if not await self._end_idle():
                        raise
            self._count += 1
            number = self._count
            self._pools[model] = (number, serving)
            self._watchers[number] = asyncio.create_task(self._watch(model, number, serving))
            return Route(serving.pool, number)

    async def _give_back_inherited(self) -> None:
        if self._inherited:
            await release_inherited()
            self._inherited = False

    async def _end_idle(self) -> bool:
        """End the idle pool that nobody has asked for longest. Returns whether there was one."""
        states = {model: await self._state(serving) for model, (_, serving) in list(self._pools.items())}
        idle = [model for model, busy in states.items() if not busy and model in self._pools]
        if idle:
            self._end(min(idle, key=lambda model: self._asked.get(model, 0.0)))
            await asyncio.gather(*self._ending, return_exceptions=True)
        return bool(idle)

    async def _state(self, serving: Serving) -> int:
        """Requests that a pool has under way, 0 for one that does not say so any more."""
        with suppress(RayError, TimeoutError):
            status = await asyncio.wait_for(asyncio.wrap_future(serving.pool.status.remote().future()), 5.0)
            return int(status.in_flight) + int(status.waiting)
        return 0

    async def _watch(self, model: str, number: int, serving: Serving) -> None:
        """Until a pool fails: then plan anew at once, since whoever asks next should not wait for it."""
        try:
            said = await serving.pool.wait_failed.remote()
            failure: Exception = CoordinatorFailed(*(said or ("it was stopped",)))
        except RayError as error:
            failure = cause_of(error)
        await self._drop(model, number, failure)

    async def _drop(self, model: str, number: int, failure: Exception) -> None:
        if model not in self._pools or self._pools[model][0] != number:
            return
        serving = self._pools[model][1]
        self._end(model)
        said = failure if isinstance(failure, CoordinatorFailed) else CoordinatorFailed(str(failure))
        await self._loader.blame(serving.plan, said)
        task = asyncio.create_task(self._replace(model))
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    async def _replace(self, model: str) -> None:
        pause = FIRST_PAUSE
        while model not in self._pools and pause <= LONGEST_PAUSE:
            try:
                await self.acquire(model)
            except Exception as error:
                logger.warning("%s is not served: %s", model, error)
            else:
                return
            await asyncio.sleep(pause)
            pause *= 2

    def _end(self, model: str) -> None:
        number, serving = self._pools.pop(model)
        watcher = self._watchers.pop(number, None)
        if watcher is not None and watcher is not asyncio.current_task():
            watcher.cancel()
        # In the background, as the caller may be the one that is to be told.
        task = asyncio.create_task(serving.end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


#: The router in a process of its own, so that several can share it.
RouterActor = ray.remote(num_cpus=0, max_concurrency=1000)(Router)
