"""llama.cpp's model servers on the cluster: what nodes have, where a coordinator runs, and what it says.

The names below are loaded when they are first used: nodes can report without what coordinators need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .coordinator import LlamaCppCoordinator
    from .errors import LlamaError
    from .events import Done
    from .pool import ShardedModelPool
    from .registry import node_registry
    from .router import RayHybridRouter

__all__ = ["Done", "LlamaCppCoordinator", "LlamaError", "RayHybridRouter", "ShardedModelPool", "node_registry"]

_PLACES = {
    "Done": "events",
    "LlamaCppCoordinator": "coordinator",
    "LlamaError": "errors",
    "RayHybridRouter": "router",
    "ShardedModelPool": "pool",
    "node_registry": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_PLACES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "aiohttp":
            raise
        raise ModuleNotFoundError(f"{name} needs aiohttp; install cognitive-actors[llama]", name="aiohttp") from None
