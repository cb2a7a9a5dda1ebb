"""How the cluster's scheduler counts what a model server takes: a slot of its node, and RPC servers.

They are custom resources of Ray, which nodes declare as they join, so that whoever holds them holds them alone.
"""

from __future__ import annotations

__all__ = ["COORDINATOR", "endpoint_of", "rpc_resource"]

#: Coordinators that a node may run at once.
COORDINATOR = "llama_coordinator"
_RPC = "llama_rpc:"


def rpc_resource(endpoint: str) -> str:
    """The resource, of which there is one, of the RPC server behind ``address:port``."""
    return _RPC + endpoint


def endpoint_of(resource: str) -> str | None:
    """The RPC server that a resource stands for; None for another kind of resource."""
    return resource.removeprefix(_RPC) if resource.startswith(_RPC) else None
