"""A machine leaves while work goes on: tasks finish, actors start elsewhere, results are still there, runs go on."""

bring_up(head, worker, worker2)
prepare_runs(worker2)

with subtest("a switch restarts a worker during a run"):
    start_run(worker2, "switch")
    wait_for_progress(worker2, "switch")
    switch(worker, "fewer-cpus")
    finish_run(worker2, "switch")
    compare_runs(worker2, "switch")
    wait_for_nodes(head, 3)

LEAVING = """
import os, pathlib, socket, time
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Affinity

ray.init(logging_level="ERROR", namespace="test")
node = next(n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeManagerAddress"] == "10.42.0.2")
only_there, first_there = Affinity(node, soft=False), Affinity(node, soft=True)


@ray.remote(num_cpus=0)
class Place:
    def where(self):
        return socket.gethostname()


@ray.remote(num_cpus=0, max_retries=0)
def takes_its_time():
    pathlib.Path("/var/lib/ray/begun").touch()
    time.sleep(20)
    return socket.gethostname()


@ray.remote(num_cpus=0, max_retries=0)
def large(number):
    return number, bytes(20 << 20)


spread = Place.options(scheduling_strategy="SPREAD", max_restarts=1, max_task_retries=-1)
actors = [spread.remote() for _ in range(9)]
actor = next(actor for actor in actors if ray.get(actor.where.remote(), timeout=300) == "worker")
results = [large.options(scheduling_strategy=first_there).remote(number) for number in range(4)]
ray.wait(results, num_returns=4, timeout=300, fetch_local=False)
task = takes_its_time.options(scheduling_strategy=only_there).remote()
pathlib.Path("leaving").touch()
assert ray.get(task, timeout=300) == "worker"
while os.path.exists("leaving"):
    time.sleep(0.2)
assert ray.get(actor.where.remote(), timeout=300) != "worker"
for number, reference in enumerate(results):
    again, content = ray.get(reference, timeout=300)
    assert again == number and len(content) == 20 << 20
    print("result", number, "is there")
"""

with subtest("a worker is stopped that has a task, an actor and results"):
    head.succeed(f"cat > /var/lib/ray/leaving.py <<'END'\n{LEAVING}END")
    start_unit(head, "leaving", "python3 leaving.py")
    retry(lambda _last: still_running(head, "leaving") and head.execute("test -e /var/lib/ray/leaving")[0] == 0, 600)
    worker.wait_for_file("/var/lib/ray/begun", timeout=120)
    began = time.monotonic()
    worker.succeed("systemctl stop ray-worker", timeout=90)
    assert time.monotonic() - began > 8, "it did not wait for its task"
    assert property_of(worker, "ray-worker", "Result") == "success"
    head.succeed("rm /var/lib/ray/leaving")

    said = finish_unit(head, "leaving")
    assert said.count("is there") == 4, said

with subtest("and comes back"):
    worker.succeed("systemctl start ray-worker", timeout=120)
    wait_for_nodes(head, 3)
