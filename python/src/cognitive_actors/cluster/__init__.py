"""The one place that connects to Ray."""

from .connection import ClusterError, ensure_ray_initialized, get_ray_namespace
from .info import get_ray_cluster_info

__all__ = ["ClusterError", "ensure_ray_initialized", "get_ray_cluster_info", "get_ray_namespace"]
