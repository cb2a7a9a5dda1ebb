"""What keeps a node from being a coordinator, and an RPC server from being used, whatever memory they have."""

from __future__ import annotations

from collections.abc import Set

from .facts import Device, Node

__all__ = ["STALE_AFTER", "node_obstacles", "server_obstacle", "trusted"]

#: Seconds after which a report says nothing of its node any more.
STALE_AFTER = 30.0


def trusted(node: Node) -> bool:
    """Whether what is known of the node holds, and nothing may be wrong with it."""
    # Asked so that an age of NaN is a stale one.
    return node.alive and node.breaker_closed and node.age <= STALE_AFTER


def node_obstacles(node: Node, file: str) -> tuple[str, ...]:
    """In words, why the node cannot be the coordinator of the model in ``file``, a path; empty if it can."""
    has_file = file in node.files or file in node.shared_files
    if has_file and node.build and node.free_slots > 0 and node.may_coordinate and trusted(node):
        return ()
    found = _distrust(node)
    if not node.build:
        found.append("it has no llama-server")
    if not node.may_coordinate:
        found.append("the coordinator is to run elsewhere")
    if node.free_slots < 1:
        found.append("it has no free slot for a coordinator")
    if not has_file:
        found.append(f"it does not reach the model's file {file}")
    return tuple(found)


def server_obstacle(node: Node, device: Device, builds: Set[str]) -> str | None:
    """In words, why the RPC server of the node's device cannot be used by any coordinator; None if it can.

    builds: those of the nodes' llama-servers; two builds do not speak with each other.
    An RPC server that ends takes its coordinator with it: one of a node that is not to be trusted is none.
    """
    if not trusted(node):
        return "; ".join(_distrust(node))
    if device.leased:
        return "it is leased, and a server takes one client"
    if device.build not in builds:
        return f"it is of build {device.build}, and no node's llama-server is"
    return None


def _distrust(node: Node) -> list[str]:
    found = []
    if not node.alive:
        found.append("the node is not alive")
    if not node.breaker_closed:
        found.append("the node's breaker is open")
    if not node.age <= STALE_AFTER:
        found.append(f"the node's report is stale, {node.age:.1f} s old where {STALE_AFTER:.0f} s is the most")
    return found
