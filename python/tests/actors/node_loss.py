"""A cluster of three nodes in one machine, one of which is lost with the actor on it: run by a test, as a process."""

from __future__ import annotations

import sys
import time
from typing import Any

import ray
from ray.cluster_utils import Cluster

from cognitive_actors.actors.durability import Durability
from cognitive_actors.actors.neurotransmitter import NeurotransmitterActor

MEMORY = 100 * 2**20
WORKER: dict[str, Any] = {"num_cpus": 1, "resources": {"worker": 1}, "object_store_memory": MEMORY}
#: A node that does not answer is given up after five seconds, not half a minute.
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 10}


def main(store: str) -> None:
    """Print "moved and kept" if the actor, on the other node, knows what it acknowledged on the lost one."""
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY, "_system_config": QUICK}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        kind = NeurotransmitterActor.options(max_restarts=-1, max_task_retries=-1, resources={"worker": 1})  # type: ignore[attr-defined]
        actor = kind.remote(2, durability=Durability(store, "agent"))
        node = cluster.add_node(**WORKER, wait=True)
        before = ray.get(actor.apply_delta.remote({"dopamine": 0.3}, request="a"), timeout=180)
        lost = where(actor)
        # Only now, so that the actor could not start there.
        cluster.add_node(**WORKER, wait=True)
        cluster.remove_node(node, allow_graceful=False)
        # For a moment the process outlives its node and still answers.
        end = time.monotonic() + 120
        while where(actor) == lost:
            if time.monotonic() > end:
                raise TimeoutError("the actor is not started on the other node")
            time.sleep(0.2)
        after = ray.get(actor.get_state.remote(), timeout=180)
        again = ray.get(actor.apply_delta.remote({"dopamine": 0.3}, request="a"), timeout=180)
        print("moved and kept" if before == after == again else (before, after, again))
    finally:
        ray.shutdown()
        cluster.shutdown()


def where(actor: Any) -> str:
    """The node an actor lives on."""
    node: str = ray.get(actor.__ray_call__.remote(lambda self: ray.get_runtime_context().get_node_id()), timeout=180)
    return node


if __name__ == "__main__":
    main(sys.argv[1])
