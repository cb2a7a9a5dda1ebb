"""The named actor that owns the statistics of streams, as replicas ask it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ..actors.streams import OtherDimension, StreamParameters, StreamStatisticsActor
from .named import SharedActor
from .refused import Refused

#: The actor that owns the streams, and how many of each kind it keeps, unless given.
STREAMS, STREAMS_KEPT = "streams", 1000


class SharedStreams(SharedActor):
    """Streams in a named, detached actor, as :class:`cognitive_actors.serve.population.SharedPopulation` has agents.

    It is made by whoever needs it first, and keeps the parameters that it was made with. Where the machines are told of
    a store for checkpoints, it saves each change before it answers; elsewhere all streams begin anew when it is started
    again.
    """

    def __init__(
        self, name: str = STREAMS, parameters: StreamParameters | None = None, streams: int = STREAMS_KEPT
    ) -> None:
        """name: of the actor; streams: how many of each kind it keeps at most."""
        parameters = StreamParameters() if parameters is None else parameters
        super().__init__(name, StreamStatisticsActor, parameters, streams)
        self.parameters, self.streams = parameters, streams

    async def drift(self, stream: str, values: Sequence[float], once: str | None = None) -> dict[str, Any]:
        """What numbers of a stream say of it. once: a name under which they count once, however often they come."""
        return dict(await self.ask("drift", stream, values, request=_request(once, stream, values)))

    async def anomaly(
        self, stream: str, vectors: Sequence[Sequence[float]], *, learn: bool, once: str | None = None
    ) -> dict[str, Any]:
        """How unusual vectors are. once: as of ``drift``, for what is learned. Raises Refused (409) for another
        dimension than that of the stream."""
        try:
            if not learn:
                return dict(await self.ask("score", stream, vectors))
            return dict(await self.ask("learn", stream, vectors, request=_request(once, stream, vectors)))
        except OtherDimension as error:
            raise Refused(409, str(getattr(error, "cause", error))) from None

    async def forget(self, kind: str, stream: str) -> bool:
        """Forget a stream, of kind ``drift`` or ``anomaly``. Returns whether there was one."""
        return bool(await self.ask(f"forget_{kind}", stream))


def _request(once: str | None, stream: str, numbers: Any) -> str | None:
    """What the actor knows a change by: other numbers under the same name are another change."""
    if once is None:
        return None
    content = json.dumps([stream, numbers]).encode()
    return f"http:{once}:{hashlib.blake2b(content, digest_size=16).hexdigest()}"
