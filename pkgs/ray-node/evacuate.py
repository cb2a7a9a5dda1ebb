"""Copies what a leaving node holds for others to the nodes that stay: `evacuate.py --gcs H:P --raylet H:P --seconds S`.

Ray drains a node without its objects: the result of a task lies where the task ran, and is lost with the node unless
the task may be run again. So ray_node.py starts this beside Ray's drain, as a process of ray-env's own Python. It asks
the owners, which are processes on other nodes, for the objects that lie here; lets a node that stays pull them, their
owner's where there is room; and pins the copies there, as Ray pins a first copy, until the owner lets go of the object.
When this node ends, the owner finds the copy and goes on with it. When all is copied and nothing runs here any more,
the node is ended; Ray would wait until the deadline, because there are objects.

What a process of this node owns (`ray.put` in an actor, results of tasks that a task started) ends with it: Ray keeps
no object without its owner. Whatever goes wrong is said in one line, and the stop goes on as if this had not run.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

try:
    import grpc
    import ray
    from ray._private import serialization
    from ray._private.grpc_utils import init_grpc_channel
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated import common_pb2 as common
    from ray.core.generated import core_worker_pb2 as workers
    from ray.core.generated import gcs_pb2
    from ray.core.generated import node_manager_pb2 as raylets
    from ray.core.generated.core_worker_pb2_grpc import CoreWorkerServiceStub
    from ray.core.generated.node_manager_pb2_grpc import NodeManagerServiceStub
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    sys.exit(f"ray-node: objects are left on this node, because this Ray is another one: {error}")

#: What Ray's processes say of their references is no promise of Ray's: whose an object is was tried on this version.
TRIED_WITH = "2.60."
RPC_SECONDS = 5.0
# Ray numbers a task's results, a generator's too, up to RAY_max_num_generator_returns, and its `ray.put`s from there.
LAST_RESULT = 100_000_000
ROUND_SECONDS = 0.5
QUESTION_OBJECTS = 1000
# RAY_object_spilling_threshold
SPILLING_BEGINS = 0.8
BATCH_OBJECTS, BATCH_BYTES = 200, 256 * 1024 * 1024
# An owner may have a great many references.
_MESSAGES = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@dataclass(frozen=True)
class Node:
    """A node: its id, the address of its raylet, and whether it takes new work."""

    id: bytes
    address: str
    stays: bool


@dataclass(frozen=True)
class Owned:
    """An object on the leaving node: its bytes, its owner (ray.rpc.Address, serialized), and the owner's node."""

    id: bytes
    size: int
    owner: bytes
    owner_node: bytes
    elsewhere: frozenset[bytes]


def main(arguments: Sequence[str] | None = None) -> int:
    """Copy until all is copied or time is over; 1 where that was not possible, and the reason in one line."""
    parser = argparse.ArgumentParser(prog="evacuate", description="Copies a leaving node's objects to other nodes.")
    parser.add_argument("--gcs", metavar="HOST:PORT", required=True, help="the cluster")
    parser.add_argument("--raylet", metavar="HOST:PORT", required=True, help="the node that leaves")
    parser.add_argument("--seconds", type=float, required=True, help="until Ray ends the node")
    options = parser.parse_args(arguments)
    if not ray.__version__.startswith(TRIED_WITH):
        print(f"ray-node: objects are left on this node: Ray is {ray.__version__}, not {TRIED_WITH}*", file=sys.stderr)
        return 1
    try:
        Evacuation(options.gcs, options.raylet, time.monotonic() + options.seconds).run()
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        print(f"ray-node: objects were left on this node: {type(error).__name__}: {reason}", file=sys.stderr)
        return 1
    return 0


class Evacuation:
    """The copying of one node's objects."""

    def __init__(self, gcs: str, raylet: str, deadline: float) -> None:
        self._gcs_address, self._raylet, self._deadline = gcs, raylet, deadline
        self._gcs = GcsClient(address=gcs)
        self._copied: dict[tuple[bytes, bytes], int] = {}
        self._seen, self._all_answered = False, True
        self._said = ""

    def run(self) -> None:
        """Copy in rounds, because tasks that still run here leave more behind, then end the node."""
        idle_before = False
        while time.monotonic() < self._deadline:
            try:
                here, others = self._nodes()
            except LookupError:
                if self._seen:
                    return  # Ray has ended the node meanwhile
                raise
            self._seen = True
            # In this order: what a task leaves is known to its owner before its worker is free.
            idle = self._is_idle(here)
            self._all_answered = True
            found = [owned for node in (here, *others) for owned in self._owned(node, here)]
            left = [owned for owned in found if (owned.owner, owned.id) not in self._copied]
            movable = [owned for owned in left if owned.owner_node != here.id]
            if movable:
                self._copy(movable, [node for node in others if node.stays])
            idle = idle and self._all_answered and not left
            # Twice: an owner may send one task after another to the same worker.
            if idle and idle_before:
                self._end(here)
                return
            idle_before = idle
            time.sleep(ROUND_SECONDS)

    def _nodes(self) -> tuple[Node, list[Node]]:
        """This node and the others that live."""
        draining = self._gcs.get_draining_nodes()
        nodes = {}
        for info in self._gcs.get_all_node_info(timeout=RPC_SECONDS).values():
            if info.state == gcs_pb2.GcsNodeInfo.GcsNodeState.ALIVE:
                address = _endpoint(info.node_manager_address, info.node_manager_port)
                nodes[address] = Node(info.node_id, address, info.node_id.hex() not in draining)
        here = nodes.pop(self._raylet, None)
        if here is None:
            raise LookupError(f"the cluster at {self._gcs_address} has no living node {self._raylet}")
        return here, list(nodes.values())

    def _is_idle(self, here: Node) -> bool:
        """Whether this node takes no new work and no task or actor is left on it."""
        load = _raylet(here, "GetResourceLoad", raylets.GetResourceLoadRequest()).resources
        processes = _raylet(here, "GetNodeStats", raylets.GetNodeStatsRequest()).core_workers_stats
        in_use = any(
            load.resources_available[name] < total
            for name, total in load.resources_total.items()
            if name != "object_store_memory"
        )
        return load.is_draining and not in_use and not any(_has_work(process) for process in processes)

    def _owned(self, node: Node, here: Node) -> Iterator[Owned]:
        """What the processes of a node own and has a copy on this one, of those that answer."""
        request = raylets.GetNodeStatsRequest(include_memory_info=True)
        try:
            processes = _raylet(node, "GetNodeStats", request).core_workers_stats
        except grpc.RpcError:
            self._all_answered = False
            return
        for process in processes:
            owner = common.Address(
                node_id=node.id, ip_address=process.ip_address, port=process.port, worker_id=process.worker_id
            )
            # Those of this node are never copied: whatever its processes hold keeps it until the deadline.
            ids = [ref.object_id for ref in process.object_refs if node == here or _is_owned_result(ref)]
            for some in _chunks(ids, QUESTION_OBJECTS):
                try:
                    yield from _located(owner, some, here)
                except grpc.RpcError:
                    self._all_answered = False

    def _copy(self, movable: list[Owned], staying: list[Node]) -> None:
        """Pull and pin each object on a node that stays and has room, a batch on each at a time."""
        shares = _shares(movable, staying)
        if shares and not ray.is_initialized():
            host = self._raylet.rpartition(":")[0].strip("[]")
            ray.init(address=self._gcs_address, _node_ip_address=host, log_to_driver=False, logging_level="ERROR")
        for wave in zip_longest(*(_batches(node, some) for node, some in shares.items())):
            pulls = [(node, some, _pull(node, some)) for node, some in filter(None, wave)]
            for node, some, pull in pulls:
                ray.wait([pull], timeout=max(self._deadline - time.monotonic(), 0.1))
                self._copied |= {(owned.owner, owned.id): owned.size for owned in _pin(node, some)}
        self._say(len(movable) - sum(map(len, shares.values())))

    def _say(self, without_room: int) -> None:
        size = sum(self._copied.values()) / 1e6
        text = f"{len(self._copied)} objects ({size:.1f} MB) of others are copied to nodes that stay"
        if without_room:
            text += f"; {without_room} have no room there and end with this node"
        if text != self._said:
            print(f"ray-node: {text}", file=sys.stderr)
        self._said = text

    def _end(self, here: Node) -> None:
        """End this node's raylet, on which `ray start` ends."""
        ray.shutdown()
        _raylet(here, "ShutdownRaylet", raylets.ShutdownRayletRequest(graceful=True))


def _is_owned_result(ref: Any) -> bool:
    """Whether a reference is surely its process's own: a result of a task that it submitted, and that is done.

    A process also lists what it borrows, and one that is taken for an owner and is none aborts. Ray tells a state only
    of what is owned, and of what was made by a task that this process submitted: that may be the task's own `ray.put`.
    """
    number = int.from_bytes(ref.object_id[-4:], "little")
    return bool(ref.task_status == common.TaskStatus.FINISHED and number <= LAST_RESULT)


def _has_work(process: Any) -> bool:
    return process.num_running_tasks > 0 or not ray.ActorID(process.actor_id).is_nil()


def _shares(movable: list[Owned], staying: list[Node]) -> dict[Node, list[Owned]]:
    """Where each object goes: to a node that has a copy, its owner's node, or the one with most room.

    An owner forgets copies on disk together with the first one, so only what fits into memory is worth a copy.
    """
    room = {}
    for node in staying:
        with contextlib.suppress(grpc.RpcError):
            store = _raylet(node, "GetNodeStats", raylets.GetNodeStatsRequest()).store_stats
            room[node] = SPILLING_BEGINS * store.object_store_bytes_avail - store.object_store_bytes_primary_copy
    shares: dict[Node, list[Owned]] = defaultdict(list)
    for owned in movable:
        fits = [node for node in room if room[node] > owned.size]
        if not fits:
            continue
        chosen = max(fits, key=lambda node: (node.id in owned.elsewhere, node.id == owned.owner_node, room[node]))
        room[chosen] -= owned.size
        shares[chosen].append(owned)
    return shares


def _batches(node: Node, objects: list[Owned]) -> Iterator[tuple[Node, list[Owned]]]:
    """Parts small enough to lie unpinned in a store for a moment."""
    batch: list[Owned] = []
    size = 0
    for owned in objects:
        if batch and (len(batch) == BATCH_OBJECTS or size + owned.size > BATCH_BYTES):
            yield node, batch
            batch, size = [], 0
        batch.append(owned)
        size += owned.size
    if batch:
        yield node, batch


def _pull(node: Node, objects: list[Owned]) -> Any:
    """A task on a node that brings objects there. It does not read them, so needs no class of theirs."""

    def pull(objects: list[tuple[bytes, bytes]]) -> None:
        refs = [serialization._object_ref_deserializer(id_, "", owner, b"", None) for id_, owner in objects]
        ray.wait(refs, num_returns=len(refs), fetch_local=True)

    task = ray.remote(num_cpus=0, max_retries=0)(pull)
    there = NodeAffinitySchedulingStrategy(node.id.hex(), soft=False)
    return task.options(scheduling_strategy=there).remote([(owned.id, owned.owner) for owned in objects])


def _pin(node: Node, objects: list[Owned]) -> Iterator[Owned]:
    """Pin the copies on a node until their owners let go of them; those that were there."""
    by_owner: dict[bytes, list[Owned]] = defaultdict(list)
    for owned in objects:
        by_owner[owned.owner].append(owned)
    for owner, some in by_owner.items():
        request = raylets.PinObjectIDsRequest(
            owner_address=common.Address.FromString(owner), object_ids=[owned.id for owned in some]
        )
        try:
            successes = _raylet(node, "PinObjectIDs", request).successes
        except grpc.RpcError:
            continue
        yield from (owned for owned, pinned in zip(some, successes, strict=True) if pinned)


def _raylet(node: Node, method: str, request: Any) -> Any:
    """Call a node's raylet. Raises grpc.RpcError."""
    with init_grpc_channel(node.address, options=_MESSAGES) as channel:
        return getattr(NodeManagerServiceStub(channel), method)(request, timeout=RPC_SECONDS)


def _located(owner: Any, ids: list[bytes], here: Node) -> Iterator[Owned]:
    """Those of an owner's objects that have a copy here. Raises grpc.RpcError."""
    request = workers.GetObjectLocationsOwnerRequest(intended_worker_id=owner.worker_id, object_ids=ids)
    with init_grpc_channel(_endpoint(owner.ip_address, owner.port), options=_MESSAGES) as channel:
        stub = CoreWorkerServiceStub(channel)
        infos = stub.GetObjectLocationsOwner(request, timeout=RPC_SECONDS).object_location_infos
    for id_, info in zip(ids, infos, strict=True):
        if not info.ref_removed and here.id in (*info.node_ids, info.spilled_node_id):
            elsewhere = frozenset(info.node_ids) - {here.id}
            yield Owned(id_, info.object_size, owner.SerializeToString(), owner.node_id, elsewhere)


def _endpoint(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _chunks(ids: list[bytes], size: int) -> Iterator[list[bytes]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


if __name__ == "__main__":
    sys.exit(main())
