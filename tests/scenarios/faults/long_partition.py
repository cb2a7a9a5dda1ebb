"""A worker is cut off for five minutes: the cluster goes on without it, and has it back afterwards."""

bring_up(head, worker, worker2)
prepare_runs(worker2)
start_run(worker2, "long")
wait_for_progress(worker2, "long")
worker.block()
begin = time.monotonic()

with subtest("the run ends without it"):
    finish_run(worker2, "long")
    assert compare_runs(worker2, "long")["actor_losses"] > 0
    assert alive_nodes(head) == ["10.42.0.1", "10.42.0.3"]

with subtest("it is back after five minutes"):
    worker.sleep(max(0, 300 - (time.monotonic() - begin)))
    worker.unblock()
    wait_for_nodes(head, 3, timeout=120)

with subtest("and works"):
    said = python(
        head,
        """
import ray, socket
ray.init(logging_level="ERROR")
@ray.remote(resources={"node:10.42.0.2": 0.001}, num_cpus=0)
def where():
    return socket.gethostname()
print(ray.get(where.remote(), timeout=60))
""",
    )
    assert said.split()[-1] == "worker", said
