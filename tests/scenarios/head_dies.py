"""With storage on its disk, a head that dies finds its nodes and named actors again; workers go on."""

bring_up(head, worker)
for machine, unit in ((head, "ray-head"), (worker, "ray-worker")):
    switch(machine, "embedded")
    machine.wait_for_unit(f"{unit}.service", timeout=180)
wait_for_nodes(head, 2)

python(
    head,
    """
import ray
ray.init(logging_level="ERROR", namespace="test")
@ray.remote(num_cpus=0, resources={"node:10.42.0.2": 0.001}, max_restarts=0)
class Counter:
    def __init__(self):
        self.count = 0
    def up(self):
        self.count += 1
        return self.count
counter = Counter.options(name="counter", lifetime="detached").remote()
assert ray.get(counter.up.remote(), timeout=60) == 1
""",
)
count = 1


def counted():
    """The next count of the actor: it lives in a process, so a new one would begin again."""
    answer = python(
        head,
        """
import ray
ray.init(logging_level="ERROR", namespace="test")
print(ray.get(ray.get_actor("counter").up.remote(), timeout=60))
""",
    )
    return int(answer.strip().splitlines()[-1])


with subtest("the GCS is killed"):
    before = property_of(worker, "ray-worker", "MainPID")
    head.succeed("pkill --signal KILL --uid ray --exact gcs_server")
    head.wait_until_succeeds("test $(systemctl show --property=NRestarts --value ray-head) -ge 1", timeout=30)
    head.wait_for_unit("ray-head.service", timeout=120)
    count += 1
    assert counted() == count

with subtest("the head is stopped and started"):
    head.succeed("systemctl stop ray-head", timeout=60)
    head.succeed("systemctl start ray-head", timeout=120)
    count += 1
    assert counted() == count

with subtest("its worker went on"):
    assert property_of(worker, "ray-worker", "MainPID") == before
    wait_for_nodes(head, 2)
