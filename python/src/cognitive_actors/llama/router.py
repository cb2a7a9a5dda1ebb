"""Chat with a language model, wherever in the cluster its server fits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..cluster import ensure_ray_initialized
from ..cluster.settings import default_namespace
from .events import Done
from .options import CONTEXT, RouterOptions
from .registry import node_registry
from .requests import Requests
from .router_actor import RouterActor

__all__ = ["RayHybridRouter"]

#: Seconds that an answer may take, loading its model included, unless given.
SECONDS = 300.0
Messages = Sequence[Mapping[str, Any]]


class RayHybridRouter:
    """Puts llama.cpp's coordinators where they fit, and streams their answers back. Names and defaults are those of
    SOLLOL's guide to Ray clusters.

        router = RayHybridRouter()
        router.chat("llama3.1:70b", [{"role": "user", "content": "Take an umbrella?"}])

    The nodes report what they have (``cognitive register``); a request for a model plans, reserves and starts what it
    needs, and the ones after it find it there. What fails is planned anew without it.

    enable_distributed: layers may go to RPC servers; auto_discover_rpc: to all that are reported, else only to
    rpc_backends, each ``address:port``; enable_remote_coordinator: any node may run a coordinator, else only the one
    that this process is on; num_pools: models that are served at once; coordinator_base_port: where coordinators begin
    to look for a free port on their node's loopback, 18080 or its LLAMA_BASE_PORT unless given; policy, context: of
    the planner; waiting: requests that wait for a pool at most; load_seconds: that a model may load for; name: of the
    router's actor, which others share and which outlives this process then: its first asker decides on its options.

    Raises ClusterError without a cluster, ValueError for options that say nothing.
    """

    def __init__(
        self,
        rpc_backends: Sequence[str] = (),
        *,
        enable_distributed: bool = True,
        auto_discover_rpc: bool = True,
        enable_remote_coordinator: bool = True,
        num_pools: int = 1,
        coordinator_base_port: int | None = None,
        policy: str = "exact",
        context: int = CONTEXT,
        waiting: int = 8,
        load_seconds: float = SECONDS,
        name: str | None = None,
    ) -> None:
        if rpc_backends and auto_discover_rpc:
            raise ValueError("rpc_backends are given and auto_discover_rpc is True; write auto_discover_rpc=False")
        ensure_ray_initialized()
        self.options = RouterOptions(
            enable_distributed,
            None if auto_discover_rpc else frozenset(rpc_backends),
            None if enable_remote_coordinator else ray.get_runtime_context().get_node_id(),
            num_pools,
            coordinator_base_port,
            policy,
            context,
            waiting,
            load_seconds,
        )
        self._owns = name is None
        # One of its own is beside this process, which it ends with: no other node can take it along.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        shared = {"name": name, "lifetime": "detached", "get_if_exists": True, "namespace": default_namespace()}
        options: dict[str, Any] = {"scheduling_strategy": here} if self._owns else shared
        self._router = RouterActor.options(**options, max_restarts=-1, max_task_retries=-1).remote(self.options)
        self._requests = Requests(self._router)

    @property
    def pools(self) -> list[dict[str, Any]]:
        """Pools that serve a model: model, coordinator, port, kept and layers by RPC server."""
        return list(ray.get(self._router.pools.remote()))

    async def apools(self) -> list[dict[str, Any]]:
        """As ``pools``, in an event loop."""
        return list(await self._router.pools.remote())

    async def ready(self) -> str:
        """The router's policy, once its actor is there."""
        return str(await self._router.ready.remote())

    @property
    def rpc_backends(self) -> list[str]:
        """RPC servers that nodes report, and that this router may use."""
        if not self.options.enable_distributed:
            return []
        known = ray.get(node_registry().known.remote())
        found = sorted(device.endpoint for each in known for device in each.report.devices)
        return [endpoint for endpoint in found if self.options.backends is None or endpoint in self.options.backends]

    def chat(self, model: str, messages: Messages, *, seconds: float = SECONDS, **parameters: Any) -> dict[str, Any]:
        """A whole answer, as OpenAI's chat completions have it. parameters: of those, such as max_tokens, temperature.

        Raises ModelUnknown, ModelUnfit, DoesNotFit with each node's shortfall, PoolBusy, RequestRefused,
        DeadlineExceeded, and CoordinatorFailed if three pools failed one after the other.
        """
        return asyncio.run(self.achat(model, messages, seconds=seconds, **parameters))

    async def achat(
        self, model: str, messages: Messages, *, seconds: float = SECONDS, **parameters: Any
    ) -> dict[str, Any]:
        """As ``chat``, in an event loop."""
        return await self._requests.chat(model, _body(messages, parameters), seconds)

    def stream(
        self, model: str, messages: Messages, *, seconds: float = SECONDS, **parameters: Any
    ) -> Generator[bytes | Done, None, None]:
        """An answer as it is made: the JSON of each ``chat.completion.chunk``, and at its end one Done.

        Raises as ``chat`` does, and CoordinatorFailed where the stream breaks off. Closing it cancels the request.
        """
        with asyncio.Runner() as runner:
            events = self.astream(model, messages, seconds=seconds, **parameters)
            try:
                while (event := runner.run(anext(events, None))) is not None:
                    yield event
            finally:
                runner.run(events.aclose())

    async def astream(
        self, model: str, messages: Messages, *, seconds: float = SECONDS, **parameters: Any
    ) -> AsyncGenerator[bytes | Done, None]:
        """As ``stream``, in an event loop."""
        async with aclosing(self._requests.stream(model, _body(messages, parameters), seconds)) as events:
            async for event in events:
                yield event

    def release(self, model: str) -> bool:
        """End the pool of a model. Returns whether there was one."""
        return bool(ray.get(self._router.release.remote(model)))

    def close(self) -> None:
        """End all pools, and the router's actor if it has no name."""
        ray.get(self._router.close.remote())
        if self._owns:
            ray.kill(self._router)


def _body(messages: Messages, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {**parameters, "messages": [dict(message) for message in messages]}
