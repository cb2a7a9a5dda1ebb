"""Populations that act: agents in an environment, spread over the cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.exceptions import RayActorError, RayTaskError

from ..actors.simulation import SimulationActor
from ..cluster import ClusterError
from ..core.cycle import CycleSettings
from ..core.trial import learning_settings
from ..files.results import concatenate, write_json, write_part
from .shards import default_count
from .workarea import WorkArea


@dataclass(frozen=True)
class SimulationRequest:
    """agents: how many; trials: of each; options: of the environment; shards: actors (one per CPU by default)."""

    environment: str
    agents: int
    trials: int
    out: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: CycleSettings = field(default_factory=CycleSettings)
    shards: int | None = None


def simulate(request: SimulationRequest, progress: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Run the trials on the connected cluster; writes simulation.parquet (one row per agent and trial) and
    simulation.json, and returns the latter: mean and standard error of every measure, over all rows and per trial.

    Raises ValueError for an unknown environment or option, InputError for a directory that cannot be used, ClusterError
    where an actor is lost (a simulation is quickly repeated, with the same seed to the same result).
    """
    settings = learning_settings(request.environment, request.options, request.settings)
    numbers = np.arange(request.agents, dtype=np.int64)
    shards = max(1, min(request.shards or default_count(), request.agents))
    begin = time.monotonic()
    with WorkArea(request.out, {"simulation": request.environment}, resume=False) as area:
        actors = [
            SimulationActor.remote(request.environment, dict(request.options), part, settings)  # type: ignore[attr-defined]
            for part in np.array_split(numbers, shards)
        ]
        parts, per_trial = [], []
        try:
            for trial in range(request.trials):
                columns = _join(ray.get([actor.trial.remote() for actor in actors]))
                path = area.directory / f"part-{trial:08d}.parquet"
                write_part(path, _table(trial, numbers, columns))
                parts.append(path)
                per_trial.append(columns)
                progress(trial + 1)
        except RayActorError as error:
            raise ClusterError(f"an actor was lost in trial {len(parts)}: {error}; run the simulation again") from error
        except RayTaskError as error:
            raise (error.cause or error) from None
        finally:
            for actor in actors:
                ray.kill(actor)
        summary = {
            "environment": request.environment,
            "agents": request.agents,
            "trials": request.trials,
            "seconds": round(time.monotonic() - begin, 3),
            "measures": {name: _figures([c[name] for c in per_trial]) for name in per_trial[0]} if per_trial else {},
        }
        concatenate(parts, request.out / "simulation.parquet")
        write_json(request.out / "simulation.json", summary)
        area.discard()
    return summary


def _join(shards: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([s[name] for s in shards]) for name in shards[0]}


def _table(trial: int, agents: np.ndarray, columns: dict[str, np.ndarray]) -> pa.Table:
    return pa.table({"trial": np.full(len(agents), trial), "agent": agents, **columns})


def _figures(trials: list[np.ndarray]) -> dict[str, Any]:
    """Mean and standard error over the rows where a measure is defined; None where it is nowhere."""
    means = [float(np.nanmean(x)) if not np.isnan(x).all() else None for x in trials]
    rows = np.concatenate(trials)
    rows = rows[~np.isnan(rows)]
    if not len(rows):
        return {"mean": None, "standard_error": None, "per_trial": means}
    spread = float(rows.std(ddof=1) / np.sqrt(len(rows))) if len(rows) > 1 else None
    return {"mean": float(rows.mean()), "standard_error": spread, "per_trial": means}
