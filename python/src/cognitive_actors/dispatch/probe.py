"""The smallest task there is: whoever works on it says where it is."""

from __future__ import annotations

import os
from typing import Any

import ray

from .task import Claim

KIND = "probe"
#: As dispatchers are given it.
HANDLER = f"{__name__}:probe"


def probe(claim: Claim) -> dict[str, Any]:
    """``node``, the id of the node, and ``pid``, the number of the process that worked on the task."""
    return {"node": ray.get_runtime_context().get_node_id(), "pid": os.getpid()}
