"""Populations that act: agents in an environment, spread over the cluster."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..actors.simulation import SimulationActor
from ..cluster import ClusterError, ensure_ray_initialized
from ..core.cycle import CycleSettings
from ..core.trial import learning_settings
from ..files.results import concatenate, write_json, write_part
from .moments import Moments
from .shards import default_count
from .supervision import ActorLost, await_ready, results, stop
from .workarea import WorkArea


@dataclass(frozen=True)
class SimulationRequest:
    """agents: how many; trials: of each; options: of the environment; shards: actors (one per CPU by default);
    address: the cluster, as :func:`ensure_ray_initialized` takes it."""

    environment: str
    agents: int
    trials: int
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: CycleSettings = field(default_factory=CycleSettings)
    shards: int | None = None
    address: str | None = None


def simulate(request: SimulationRequest, progress: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Run the trials; writes simulation.parquet (one row per agent and trial) and simulation.json, and returns the
    latter: mean and standard error of every measure, over all rows, and its mean per trial.

    Connects to Ray where this process is not. Raises ValueError for an unknown environment or option and for no
    agents or trials, InputError for a directory that cannot be used, ClusterError where the cluster has no room or an
    actor is lost (a simulation is quickly repeated, with the same seed to the same result).
    """
    for name in ("agents", "trials"):
        if getattr(request, name) < 1:
            raise ValueError(f"{name} is {getattr(request, name)}; write 1 or more")
    settings = learning_settings(request.environment, request.options, request.settings)
    numbers = np.arange(request.agents, dtype=np.int64)
    measures: dict[str, Moments] = defaultdict(Moments)
    parts: list[Path] = []
    with WorkArea(request.out, {"simulation": request.environment}, resume=False) as area:
        ensure_ray_initialized(request.address)
        begin = time.monotonic()
        shards = max(1, min(request.shards or default_count(), request.agents))
        actors = [
            SimulationActor.remote(request.environment, dict(request.options), part, settings)  # type: ignore[attr-defined]
            for part in np.array_split(numbers, shards)
        ]
        try:
            await_ready(actors)
            for trial in range(request.trials):
                columns = _join(results([actor.trial.remote() for actor in actors]))
                parts.append(area.directory / f"part-{trial:08d}.parquet")
                write_part(parts[-1], _table(trial, numbers, columns))
                for name, x in columns.items():
                    measures[name].add(x)
                progress(trial + 1)
        except ActorLost as loss:
            raise ClusterError(f"an actor was lost in trial {len(parts)}: {loss}; run the simulation again") from loss
        finally:
            stop(actors)
        summary = {
            "environment": request.environment,
            "agents": request.agents,
            "trials": request.trials,
            "seconds": round(time.monotonic() - begin, 3),
            "measures": {name: moments.figures() for name, moments in measures.items()},
        }
        concatenate(parts, request.out / "simulation.parquet")
        write_json(request.out / "simulation.json", summary)
        area.discard()
    return summary


def _join(shards: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([s[name] for s in shards]) for name in shards[0]}


def _table(trial: int, agents: np.ndarray, columns: dict[str, np.ndarray]) -> pa.Table:
    return pa.table({"trial": np.full(len(agents), trial), "agent": agents, **columns})
