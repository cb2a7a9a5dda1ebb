"""Whether the agents are to be there, as all services agree on it.

One bit is kept, in a SharedStateActor beside the agents' actor: whether they have been stopped. Until somebody says
so they have not. Everything else is seen from whether the agents' actor exists:

    not stopped, an actor        it starts, or is ready
    not stopped, no actor        nobody has needed it yet; `/cognitive` makes it when it starts or is asked
    stopped, an actor            what is under way ends; no replica finds its way to it any more
    stopped, no actor            not initialised: nobody makes one until `/organism/initialize`

Who makes the actor looks at the bit before and after, and who stops it sets the bit before it looks for the actor: one
of the two always sees the other. Where the machines name a store for checkpoints, the bit is kept over a loss of the
cluster. Elsewhere a bit that was lost with its owner's process follows from whether there is an actor.
"""

from __future__ import annotations

import json

from .named import SharedState, existing
from .refused import Refused, away

_STOPPED = "stopped"
NOT_INITIALISED = "the agents are not initialised: they have been shut down, or never begun; POST /organism/initialize"
STOPPING = "the agents are being shut down"


class Lifecycle:
    """The agreement on the agents' actor of a name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.record = SharedState(f"{name}-lifecycle")

    async def stopped(self) -> bool:
        """Whether the agents have been stopped, and not been begun again since."""
        found = await self.record.ask("read")
        if _STOPPED in found["entries"]:
            return bool(json.loads(found["entries"][_STOPPED][0]))
        restarted = (await self.record.ask("ready"))["restarted"]
        return bool(restarted) and self.record.durability is None and await existing(self.name) is None

    async def set_stopped(self, stopped: bool) -> None:
        """Say so; of use to no one but who makes or ends the actor next."""
        await self.record.ask("change", {_STOPPED: json.dumps(stopped)})

    async def check(self) -> None:
        """Raises Refused (503) where the agents have been stopped."""
        if await self.stopped():
            raise self.gone()

    @staticmethod
    def gone() -> Refused:
        """What a client is told that needs the agents."""
        return away(NOT_INITIALISED)
