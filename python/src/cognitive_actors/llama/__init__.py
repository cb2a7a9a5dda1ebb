"""llama.cpp's model servers on the cluster: what nodes have, where a coordinator runs, and what it says."""

from __future__ import annotations

from .coordinator import LlamaCppCoordinator
from .errors import LlamaError
from .events import Done
from .pool import ShardedModelPool
from .registry import node_registry
from .router import RayHybridRouter

__all__ = ["Done", "LlamaCppCoordinator", "LlamaError", "RayHybridRouter", "ShardedModelPool", "node_registry"]
