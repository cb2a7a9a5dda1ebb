"""Named, detached actors that own the state, and the machines they live on, as replicas ask them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable
from typing import Any

import ray
from ray.exceptions import ActorDiedError, RayTaskError

from ..actors.durability import CHECKPOINTS
from ..actors.shared_state import HistoryGone, OtherChange, SharedStateActor, StateConflict, StateFull, StateMissing
from ..cluster import get_ray_cluster_info
from ..cluster.settings import default_namespace
from .refused import Refused

#: The actor that owns the shared state, unless given.
STATE = "state"
#: The router of language models, likewise.
ROUTER = "llama-router"
#: What the state's owner says, as a status.
_STATUS = {StateConflict: 412, StateMissing: 404, HistoryGone: 410, StateFull: 422, OtherChange: 409}


def durability_of(name: str) -> str | None:
    """The actor's key in the store of checkpoints, None where no store is named."""
    return name if os.environ.get(CHECKPOINTS) else None


def shared_options(name: str) -> dict[str, Any]:
    """Options of an actor that replicas share: it outlives them, and Ray starts it again.

    Its namespace is that of the cluster's drivers. Replicas themselves are in one of Serve's.
    """
    return {
        "name": name,
        "namespace": default_namespace(),
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "max_restarts": -1,
        "max_task_retries": -1,
    }


async def existing(name: str) -> Any:
    """The actor of a name, None where there is none."""
    try:
        return await asyncio.to_thread(ray.get_actor, name, default_namespace())
    except ValueError:
        return None


async def nodes() -> dict[str, int]:
    """How many machines of the cluster are ``alive``, and how many ``dead``."""
    cluster = await asyncio.to_thread(get_ray_cluster_info)
    return {"alive": cluster["nodes_alive"], "dead": cluster["nodes_dead"]}


async def reasons_of(name: str, answer: Awaitable[Any], seconds: float) -> list[str]:
    """Why an actor does not answer in time; nothing if it does."""
    try:
        await asyncio.wait_for(answer, seconds)
    except (TimeoutError, ray.exceptions.RayError) as error:
        return [f"the actor {name!r} does not answer: {type(error).__name__}"]
    return []


class SharedActor:
    """A named actor, made by whoever needs it first, and with the arguments of that one."""

    def __init__(self, name: str, kind: Any, *arguments: Any) -> None:
        """kind: the actor's class, which takes ``durability`` beside the arguments."""
        self.name = name
        self._kind, self._arguments = kind, arguments
        self._actor: Any = None

    def actor(self) -> Any:
        """The actor, made where there is none."""
        if self._actor is None:
            options = shared_options(self.name)
            self._actor = self._kind.options(**options).remote(*self._arguments, durability=self.durability)
        return self._actor

    @property
    def durability(self) -> str | None:
        """The actor's key in the store of checkpoints, None where no store is named."""
        return durability_of(self.name)

    async def ready(self, seconds: float) -> list[str]:
        """Why the actor cannot be asked; nothing if it can."""
        return await reasons_of(self.name, self.ask("ready"), seconds)

    async def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """What a method of the actor returns."""
        try:
            return await asyncio.wrap_future(getattr(self.actor(), method).remote(*arguments, **options).future())
        except ActorDiedError:
            # For good: somebody has killed it. The next request makes another.
            self._actor = None
            raise
        except RayTaskError as error:
            if isinstance(error.cause, LookupError):
                # The request has been applied, and its answer is no longer kept.
                raise Refused(409, str(error.cause.args[0])) from None
            raise


class SharedState(SharedActor):
    """A SharedStateActor by name: that of the service, unless given."""

    def __init__(self, name: str = STATE) -> None:
        super().__init__(name, SharedStateActor)

    async def ask(self, method: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        """What a method of the owner returns. Raises Refused for what the owner refuses."""
        try:
            return dict(await super().ask(method, *arguments, **options))
        except RayTaskError as error:
            if type(error.cause) in _STATUS:
                raise Refused(_STATUS[type(error.cause)], str(error.cause)) from None
            raise
