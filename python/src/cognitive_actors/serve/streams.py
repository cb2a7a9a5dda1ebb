"""The named actor that owns the statistics of streams, as replicas ask it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import ActorDiedError

from ..actors.durability import CHECKPOINTS
from ..actors.streams import OtherDimension, StreamParameters, StreamStatisticsActor
from .problems import Refused


class SharedStreams:
    """Streams in a named, detached actor, as :class:`cognitive_actors.serve.population.SharedPopulation` has agents.

    It is made by whoever needs it first, and keeps the parameters that it was made with. Where the machines are told of
    a store for checkpoints, it saves each change before it answers; elsewhere all streams begin anew when it is started
    again.
    """

    def __init__(self, name: str, parameters: StreamParameters, streams: int) -> None:
        self.name, self.parameters, self.streams = name, parameters, streams
        self._actor: Any = None

    def actor(self) -> Any:
        """The actor, made where there is none."""
        if self._actor is None:
            self._actor = StreamStatisticsActor.options(  # type: ignore[attr-defined]
                name=self.name,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                max_restarts=-1,
                max_task_retries=-1,
            ).remote(self.parameters, self.streams, durability=self.durability)
        return self._actor

    @property
    def durability(self) -> str | None:
        """The actor's key in the store of checkpoints, None where no store is named."""
        return self.name if os.environ.get(CHECKPOINTS) else None

    async def ready(self, seconds: float) -> list[str]:
        """Why the streams cannot be asked; nothing if they can."""
        try:
            await asyncio.wait_for(asyncio.wrap_future(self.actor().ready.remote().future()), seconds)
        except (TimeoutError, ray.exceptions.RayError) as error:
            return [f"the actor {self.name!r} does not answer: {type(error).__name__}"]
        return []

    async def drift(self, stream: str, values: Sequence[float]) -> dict[str, Any]:
        """What numbers of a stream say of it."""
        return dict(await self._ask("drift", stream, values))

    async def anomaly(self, stream: str, vectors: Sequence[Sequence[float]], *, learn: bool) -> dict[str, Any]:
        """How unusual vectors are. Raises Refused (409) for another dimension than that of the stream."""
        try:
            return dict(await self._ask("learn" if learn else "score", stream, vectors))
        except OtherDimension as error:
            raise Refused(409, str(getattr(error, "cause", error))) from None

    async def forget(self, kind: str, stream: str) -> bool:
        """Forget a stream, of kind ``drift`` or ``anomaly``. Returns whether there was one."""
        return bool(await self._ask(f"forget_{kind}", stream))

    async def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return await getattr(self.actor(), method).remote(*arguments)
        except ActorDiedError:
            # For good: somebody has killed it. The next request makes another.
            self._actor = None
            raise
