"""Populations of neuromodulated active-inference agents with a global workspace, on Ray.

The names below are loaded when they are first used, so that ``import cognitive_actors.core`` stays free of Ray.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "NeurotransmitterActor": "actors.neurotransmitter",
    "GlobalWorkspaceActor": "actors.workspace",
    "InferenceEngineActor": "actors.inference",
    "PopulationActor": "actors.population",
    "SimulationActor": "actors.simulation",
    "Durability": "actors.durability",
    "Session": "pipeline.online",
    "run_distributed_inference": "pipeline.online",
    "RunRequest": "pipeline.run",
    "run": "pipeline.run",
    "ensure_ray_initialized": "cluster",
    "get_ray_cluster_info": "cluster",
    "get_ray_namespace": "cluster",
    "NewTask": "dispatch",
    "Node": "dispatch",
    "QueueDispatcher": "dispatch",
    "Reaper": "dispatch",
    "Retries": "dispatch",
    "TaskLedger": "dispatch",
    "TaskStore": "dispatch",
    "enqueue_graph": "dispatch",
    "graph_state": "dispatch",
    "open_store": "dispatch",
    "GenerativeModel": "core.model",
    "CycleSettings": "core.cycle",
    "load_model": "files.models",
    "save_model": "files.models",
}

# Without what needs a package that is not always there: cognitive-actors[dispatch].
__all__ = sorted(name for name, place in _PLACES.items() if place != "dispatch")
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*_PLACES, "__version__"])
