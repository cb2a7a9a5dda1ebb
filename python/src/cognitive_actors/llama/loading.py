"""From a model's name to a pool that serves it: plan, reserve, start; and again without what has failed.

Nothing of this is remembered but who failed, which the registry keeps for all routers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from ..placement import DoesNotFit, Plan, plan
from .coordinator import BASE_PORT
from .errors import CoordinatorFailed, DeadlineExceeded
from .knowledge import Avoided, facts, find_model
from .options import RouterOptions
from .pool import ShardedModelPool
from .registry import Known, node_registry
from .reporting import BEAT
from .reservation import holdings, release, reserve

__all__ = ["Loader", "Serving", "cause_of"]

logger = logging.getLogger(__name__)
#: Plans that are followed at most for one request, and seconds that Ray is given to reserve what one needs.
ATTEMPTS, RESERVE_SECONDS = 6, 5.0
#: Seconds that a coordinator is given to end by itself.
STOP_SECONDS = 2.0


@dataclass(frozen=True)
class Serving:
    """A pool that serves a model. group: what it holds; port: of its coordinator, on loopback of its node."""

    model: str
    plan: Plan
    pool: Any = field(repr=False)
    group: Any = field(repr=False)
    port: int

    async def end(self) -> None:
        """End the coordinator with its actor, and give back what it holds."""
        # An RPC server whose client is gone in the middle of an answer may go with it.
        with suppress(RayError, TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.pool.stop.remote()
        ray.kill(self.pool)
        await release(self.group)


class Loader:
    """Loads models under a router's options. computes: bytes of compute buffers, as loaded models have logged them."""

    def __init__(self, options: RouterOptions) -> None:
        self.options = options
        self.computes: dict[str, int] = {}
        self._suspects: dict[str, float] = {}
        self._registry = node_registry()

    async def known(self) -> list[Known]:
        """What the registry knows."""
        found: list[Known] = await self._registry.known.remote()
        return found

    async def load(self, model: str) -> Serving:
        """A pool for the model, where it fits best and starts.

        Raises ModelUnknown, ModelUnfit, DoesNotFit with each node's shortfall, CoordinatorFailed if it started nowhere,
        DeadlineExceeded after ``load_seconds``.
        """
        avoided = Avoided(endpoints=self._suspected())
        failure = CoordinatorFailed(f"{model} was not reserved: others have been quicker")
        end = time.monotonic() + self.options.load_seconds
        for _ in range(ATTEMPTS):
            try:
                planned = await self._plan(model, avoided)
            except DoesNotFit as error:
                if avoided.nodes or avoided.endpoints:
                    error.add_note(f"without {', '.join(sorted(avoided.nodes | avoided.endpoints))}: {failure}")
                raise
            left = end - time.monotonic()
            if left <= 0:
                raise DeadlineExceeded(f"{model} was not loaded in {self.options.load_seconds:g} s: {failure}")
            try:
                serving = await self._follow(model, planned, left)
            except CoordinatorFailed as error:
                failure = error
                await self.blame(planned, error)
                avoided.endpoints |= set(error.suspects)
                if not error.suspects:
                    avoided.nodes.add(planned.coordinator)
                continue
            if serving is not None:
                return serving
            # Lost to another router, which the next look sees; or to a death that Ray has not noticed yet.
            avoided.nodes |= {planned.coordinator} if await self._plan(model, avoided) == planned else set()
        raise failure

    async def blame(self, planned: Plan, error: CoordinatorFailed) -> None:
        """Tell the registry who failed: the servers at fault, or the coordinator's node."""
        owners = {share.endpoint: share.node for share in planned.split.shares}
        logger.warning("%s on %s failed: %s", planned.model, planned.coordinator, error)
        for endpoint in error.suspects:
            self._suspects[endpoint] = time.monotonic()
            await self._registry.failed.remote(owners.get(endpoint, planned.coordinator), endpoint, error.why)
        if not error.suspects:
            await self._registry.failed.remote(planned.coordinator, None, error.why)

    def _suspected(self) -> set[str]:
        """RPC servers that failed so lately that no heartbeat can have told yet whether they are back."""
        now = time.monotonic()
        return {endpoint for endpoint, moment in self._suspects.items() if now - moment < BEAT}

    async def _plan(self, name: str, avoided: Avoided) -> Plan:
        known, held = await asyncio.gather(self.known(), holdings())
        model, options = find_model(known, name), self.options
        planned = plan(
            facts(known, held, options, avoided),
            model.sizes,
            min(options.context, model.sizes.context),
            options.policy,
            file=model.path,
            # Where it really listens is found on its node.
            port=options.coordinator_base_port or BASE_PORT,
            compute=self.computes.get(name, 0),
        )
        for place in planned.ranking:
            logger.info("%s: %s", name, place)
        return planned

    async def _follow(self, model: str, planned: Plan, seconds: float) -> Serving | None:
        """The pool of a plan, None if what it needs was lost. Raises CoordinatorFailed."""
        node = next(each.report.node for each in await self.known() if each.report.name == planned.coordinator)
        endpoints = [share.endpoint for share in planned.split.shares]
        group = await reserve(node, endpoints, min(seconds, RESERVE_SECONDS))
        if group is None:
            return None
        where = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
        options = self.options
        pool = ShardedModelPool.options(scheduling_strategy=where).remote(
            planned, model=model, base_port=options.coordinator_base_port, waiting=options.waiting
        )
        try:
            loaded = await pool.start.remote(seconds)
        except (RayActorError, RayTaskError) as error:
            await Serving(model, planned, pool, group, 0).end()
            raise cause_of(error) from error
        except BaseException:
            await Serving(model, planned, pool, group, 0).end()
            raise
        self.computes[model] = max(loaded.compute, self.computes.get(model, 0))
        shares = ", ".join(f"{share.units} on {share.endpoint}" for share in planned.split.shares) or "none elsewhere"
        logger.info("%s is served by %s; layers: %s", model, planned.coordinator, shares)
        return Serving(model, planned, pool, group, loaded.port)


def cause_of(error: Exception) -> Exception:
    """What an error of Ray means here: what the pool raised, or that it is gone."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return error.cause
    if isinstance(error, RayActorError):
        return CoordinatorFailed("the coordinator's actor has died, or its node")
    return error
