"""What a cluster is made of right now."""

from __future__ import annotations

import platform
from typing import Any

import ray

from .connection import ClusterError, get_ray_namespace


def get_ray_cluster_info() -> dict[str, Any]:
    """Nodes (alive and dead apart), resources, versions, namespace and address of the connected cluster.

    A dead node stays in Ray's list for a while; it is never counted among the living.
    Raises ClusterError where this process is not connected.
    """
    if not ray.is_initialized():
        raise ClusterError("this process is not connected to Ray; call ensure_ray_initialized() first")
    nodes = [
        {
            "id": node["NodeID"],
            "address": node["NodeManagerAddress"],
            "host": node["NodeManagerHostname"],
            "alive": bool(node["Alive"]),
            "resources": {k: v for k, v in node.get("Resources", {}).items() if not k.startswith("node:")},
            "labels": dict(node.get("Labels", {})),
        }
        for node in ray.nodes()
    ]
    return {
        "address": ray.get_runtime_context().gcs_address,
        "namespace": get_ray_namespace(),
        "ray": ray.__version__,
        "python": platform.python_version(),
        "nodes_alive": sum(node["alive"] for node in nodes),
        "nodes_dead": sum(not node["alive"] for node in nodes),
        "resources": {k: v for k, v in ray.cluster_resources().items() if not k.startswith("node:")},
        "available": {k: v for k, v in ray.available_resources().items() if not k.startswith("node:")},
        "nodes": nodes,
    }
