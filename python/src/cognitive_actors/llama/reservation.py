"""A slot and RPC servers for one coordinator alone, as Ray gives them away: all of them at once, or none.

They are the bundles of a placement group, the first of which is on the coordinator's node and no other. Ray takes the
group back when its creator has died, so nothing stays leased to nobody; one that Ray starts again does it by itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import PlacementGroupID
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from .knowledge import Holdings
from .resources import COORDINATOR, endpoint_of, rpc_resource

__all__ = ["holdings", "release", "release_inherited", "reserve"]

#: A group in one of these states has its resources, or will have them before anybody else.
_HOLDING = ("CREATED", "PREPARED", "RESCHEDULING")
RELEASE_SECONDS = 10.0
_NODE_ID = "ray.io/node-id"


async def holdings() -> Holdings:
    """What is free and what is leased now."""
    return await asyncio.to_thread(lambda: _holdings(ray.nodes(), placement_group_table()))


def _holdings(nodes: Sequence[Mapping[str, Any]], groups: Mapping[str, Mapping[str, Any]]) -> Holdings:
    living = {node["NodeID"]: node["Resources"] for node in nodes if node["Alive"]}
    used, leased = Counter[str](), set[str]()
    for group in groups.values():
        if group.get("state") not in _HOLDING:
            continue
        for place, bundle in group["bundles"].items():
            used[group["bundles_to_node_id"][place]] += int(bundle.get(COORDINATOR, 0))
            leased |= {endpoint for resource in bundle if (endpoint := endpoint_of(resource)) is not None}
    slots = {node: int(resources.get(COORDINATOR, 0)) - used[node] for node, resources in living.items()}
    offered = {endpoint for resources in living.values() for name in resources if (endpoint := endpoint_of(name))}
    return Holdings(slots, leased, offered)


async def reserve(node: str, endpoints: Sequence[str], seconds: float) -> Any | None:
    """A placement group with a slot of the node of an id, in bundle 0, and the RPC servers; None if somebody else was
    quicker, or any of it is gone."""
    bundles = [{COORDINATOR: 1.0}, *({rpc_resource(endpoint): 1.0} for endpoint in endpoints)]
    where = [{_NODE_ID: node}, *({} for _ in endpoints)]
    name = f"{_creator()}{secrets.token_hex(8)}"
    group = placement_group(bundles, strategy="PACK", name=name, bundle_label_selector=where)
    try:
        if await asyncio.to_thread(group.wait, seconds):
            return group
    except BaseException:
        remove_placement_group(group)
        raise
    await release(group)
    return None


async def release_inherited() -> None:
    """Give back what this actor reserved before it was started again, and with it all that runs there."""
    for id_, group in (await asyncio.to_thread(placement_group_table)).items():
        if group["name"].startswith(_creator()) and group["state"] != "REMOVED":
            await release(PlacementGroup(PlacementGroupID.from_hex(id_)))


def _creator() -> str:
    """What the names of groups begin with that this actor reserves; the same where it is started again."""
    return f"llama/{ray.get_runtime_context().get_actor_id()}/"


async def release(group: Any) -> None:
    """Give it all back; it is free when this returns, or Ray does not answer within 10 s."""
    await asyncio.to_thread(remove_placement_group, group)
    end = asyncio.get_running_loop().time() + RELEASE_SECONDS
    while asyncio.get_running_loop().time() < end:
        # Who plans at once would find it leased.
        if (await asyncio.to_thread(placement_group_table, group)).get("state", "REMOVED") == "REMOVED":
            return
        await asyncio.sleep(0.02)
