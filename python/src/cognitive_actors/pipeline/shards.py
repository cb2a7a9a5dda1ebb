"""A population spread over several actors, driven as if it were one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import ray

from ..actors.population import PopulationActor
from ..cluster import ClusterError
from ..core.cycle import CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk, agent_number, pack_names, unpack_names
from .supervision import START_DEADLINE, await_ready, results, stop

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Pending:
    """A chunk under way: which stimuli went to which shard, and the references to what comes back."""

    positions: list[np.ndarray]
    results: list[Any]
    snapshots: list[Any] | None


class Shards:
    """PopulationActors, each with the agents whose number falls to it.

    Use it in a ``with`` statement, or call ``stop``.
    """

    def __init__(
        self,
        model: GenerativeModel,
        settings: CycleSettings,
        count: int,
        *,
        device: str = "cpu",
        snapshot: Mapping[str, np.ndarray] | None = None,
        deadline: float = START_DEADLINE,
    ) -> None:
        """Start the actors; ``snapshot`` (of any number of shards) gives them their agents' state.

        Raises ClusterError if the cluster has no room for them within ``deadline`` seconds, ActorLost if one dies.
        """
        if device.startswith("cuda") and not ray.cluster_resources().get("GPU"):
            raise ClusterError("no node of the cluster has a GPU; write --device cpu, or add a node that has one")
        self.count = count
        # On as many machines as there are: Ray would fill the driver's own first.
        options: dict[str, Any] = {"scheduling_strategy": "SPREAD"}
        if device.startswith("cuda"):
            options["num_gpus"] = 1
        shared, cycle = ray.put(model), ray.put(settings)
        parts = _split_snapshot(snapshot, count) if snapshot is not None else [None] * count
        self.actors = [
            PopulationActor.options(**options).remote(shared, cycle, part, device)  # type: ignore[attr-defined]
            for part in parts
        ]
        await_ready(self.actors, deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def submit(self, chunk: Chunk, *, snapshot: bool) -> Pending:
        """Send a chunk to the shards of its agents, without waiting. Chunks are processed in order of submission."""
        positions = self._positions(chunk)
        columns, snapshots = [], []
        for actor, where in zip(self.actors, positions, strict=True):
            part = chunk if len(where) == len(chunk.names) else _select(chunk, where)
            if snapshot:
                column, state = actor.process_and_snapshot.options(num_returns=2).remote(part)
                snapshots.append(state)
            else:
                column = actor.process.remote(part) if len(where) else None
            columns.append(column)
        return Pending(positions, columns, snapshots if snapshot else None)

    def collect(self, pending: Pending) -> tuple[Arrays, Arrays | None]:
        """Wait for a chunk: its columns in the chunk's order and, if asked for, the state of all agents after it.

        Raises ActorLost if an actor died.
        """
        sent = [(p, r) for p, r in zip(pending.positions, pending.results, strict=True) if r is not None and len(p)]
        parts = [p for p, _ in sent]
        columns = _merge(parts, results([r for _, r in sent])) if sent else {}
        states = results(pending.snapshots) if pending.snapshots is not None else None
        return columns, None if states is None else _join_snapshots(states)

    def snapshot(self) -> Arrays:
        """The state of all agents after everything submitted so far. Raises ActorLost if an actor died."""
        return _join_snapshots(results([actor.snapshot.remote() for actor in self.actors]))

    def stop(self) -> None:
        """End the actors."""
        stop(self.actors)

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
    names = unpack_names(snapshot)
    shard = shard_of(names, count)
    state = {name: x for name, x in snapshot.items() if name not in ("names", "name_lengths")}
    parts = []
    for i in range(count):
        mine = np.flatnonzero(shard == i)
        parts.append({**pack_names([names[j] for j in mine]), **{name: x[mine] for name, x in state.items()}})
    return parts


def _join_snapshots(states: list[Arrays]) -> Arrays:
    # Bytes of names and rows of agents alike: one shard's behind the other's.
    return {name: np.concatenate([state[name] for state in states]) for name in states[0]}


def default_count(device: str = "cpu") -> int:
    """One shard for every CPU of the cluster, or for every GPU."""
    resources: dict[str, float] = ray.cluster_resources()
    return max(1, math.floor(resources.get("GPU" if device.startswith("cuda") else "CPU", 1)))
