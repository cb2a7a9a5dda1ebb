"""A population spread over several actors, driven as if it were one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from ..actors.population import PopulationActor
from ..cluster import ClusterError
from ..core.cycle import CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk, agent_number

Arrays = dict[str, np.ndarray]

#: Seconds an actor may wait for a free CPU before the run gives up.
START_DEADLINE = 120.0


class ShardLost(RuntimeError):
    """An actor died with the state of its agents; the run goes on from the last checkpoint."""


@dataclass(frozen=True)
class Pending:
    """A chunk under way: which stimuli went to which shard, and the references to what comes back."""

    positions: list[np.ndarray]
    results: list[Any]
    snapshots: list[Any] | None


class Shards:
    """PopulationActors, each with the agents whose number falls to it."""

    def __init__(
        self,
        model: GenerativeModel,
        settings: CycleSettings,
        count: int,
        *,
        device: str = "cpu",
        snapshot: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Start the actors; ``snapshot`` (of any number of shards) gives them their agents' state.

        Raises ClusterError if the cluster has no room for them.
        """
        self.count = count
        options = {"num_gpus": 1} if device.startswith("cuda") else {}
        shared, cycle = ray.put(model), ray.put(settings)
        parts = _split_snapshot(snapshot, count) if snapshot is not None else [None] * count
        self.actors = [
            PopulationActor.options(**options).remote(shared, cycle, part, device)  # type: ignore[attr-defined]
            for part in parts
        ]
        try:
            ray.get([actor.ready.remote() for actor in self.actors], timeout=START_DEADLINE)
        except GetTimeoutError:
            self.stop()
            free = ray.available_resources().get("CPU", 0)
            raise ClusterError(
                f"{count} population actors found no room within {START_DEADLINE:g} s ({free:g} CPUs are free);"
                " free some, or ask for fewer with --shards"
            ) from None

    def submit(self, chunk: Chunk, *, snapshot: bool) -> Pending:
        """Send a chunk to the shards of its agents, without waiting. Chunks are processed in order of submission."""
        positions = self._positions(chunk)
        results, snapshots = [], []
        for actor, where in zip(self.actors, positions, strict=True):
            part = chunk if len(where) == len(chunk.names) else _select(chunk, where)
            if snapshot:
                result, state = actor.process_and_snapshot.options(num_returns=2).remote(part)
                snapshots.append(state)
            else:
                result = actor.process.remote(part) if len(where) else None
            results.append(result)
        return Pending(positions, results, snapshots if snapshot else None)

    def collect(self, pending: Pending) -> tuple[Arrays, Arrays | None]:
        """Wait for a chunk: its columns in the chunk's order and, if asked for, the state of all agents after it.

        Raises ShardLost if an actor died.
        """
        parts = [p for p, r in zip(pending.positions, pending.results, strict=True) if r is not None and len(p)]
        wanted = [r for p, r in zip(pending.positions, pending.results, strict=True) if r is not None and len(p)]
        try:
            columns = _merge(parts, ray.get(wanted)) if parts else {}
            states = ray.get(pending.snapshots) if pending.snapshots is not None else None
        except RayActorError as error:
            raise ShardLost(str(error)) from error
        except RayError as error:
            cause = error.cause if hasattr(error, "cause") else None
            raise cause if isinstance(cause, Exception) else error
        return columns, None if states is None else _join_snapshots(states)

    def stop(self) -> None:
        """End the actors."""
        for actor in self.actors:
            ray.kill(actor)

    def _positions(self, chunk: Chunk) -> list[np.ndarray]:
        if self.count == 1:
            return [np.arange(len(chunk.names))]
        shard = shard_of(chunk.names, self.count)
        return [np.flatnonzero(shard == i) for i in range(self.count)]


def shard_of(names: Any, count: int) -> np.ndarray:
    """The shard of each agent: int64, by name alone."""
    distinct = {name: agent_number(name) % count for name in set(names)}
    return np.fromiter((distinct[name] for name in names), dtype=np.int64, count=len(names))


def _select(chunk: Chunk, where: np.ndarray) -> Chunk:
    return Chunk([chunk.names[i] for i in where], chunk.time[where], chunk.observations[where], chunk.delta[where])


def _merge(positions: list[np.ndarray], parts: list[Arrays]) -> Arrays:
    if len(parts) == 1:
        return parts[0]
    inverse = np.argsort(np.concatenate(positions))
    # A shard whose stimuli all came too late has no columns but the first two.
    names = max(parts, key=len)
    merged = {}
    for name, like in names.items():
        filled = [
            part.get(name, np.zeros((len(where), *like.shape[1:]), dtype=like.dtype))
            for part, where in zip(parts, positions, strict=True)
        ]
        merged[name] = np.concatenate(filled)[inverse]
    return merged


def _split_snapshot(snapshot: Mapping[str, np.ndarray], count: int) -> list[Arrays]:
    shard = shard_of([str(name) for name in snapshot["names"]], count)
    return [{name: x[shard == i] for name, x in snapshot.items()} for i in range(count)]


def _join_snapshots(states: list[Arrays]) -> Arrays:
    return {name: np.concatenate([state[name] for state in states]) for name in states[0]}


def default_count() -> int:
    """One shard for every CPU of the cluster."""
    return max(1, math.floor(ray.cluster_resources().get("CPU", 1)))
