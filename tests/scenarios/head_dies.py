"""A head that dies: what is kept and what is lost with each storage of what the head knows."""

bring_up(head, worker)


def use(storage):
    """Give both machines another storage: that is another cluster, which the worker joins anew."""
    worker.succeed("systemctl stop ray-worker", timeout=90)
    switch(head, storage)
    head.wait_for_unit("ray-head.service", timeout=180)
    # A worker is the same with every storage, and another one without.
    switch(worker, "forgetful" if storage == "forgetful" else None)
    worker.succeed("systemctl start ray-worker", timeout=120)
    wait_for_nodes(head, 2)


def remember():
    """Leave a named actor on the worker, which has counted to one, and the record of a job."""
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
        import os
        self.count += 1
        return self.count, os.getpid()
counter = Counter.options(name="counter", lifetime="detached").remote()
assert ray.get(counter.up.remote(), timeout=60)[0] == 1
""",
    )
    head.succeed("ray job submit --submission-id remembered -- true", timeout=120)


def counted():
    """The actor's next count and its process: a new one would begin again."""
    answer = python(
        head,
        """
import json, ray
ray.init(logging_level="ERROR", namespace="test")
print(json.dumps(ray.get(ray.get_actor("counter").up.remote(), timeout=60)))
""",
    )
    return json.loads(answer.strip().splitlines()[-1])


def jobs():
    """What the head knows of jobs."""
    return head.succeed("ray job list", timeout=60)


def ends_and_starts(unit, command):
    """Run a command on the head on which a unit ends by itself, and wait until systemd has it back."""
    restarts = int(property_of(head, unit, "NRestarts"))
    head.succeed(command)
    head.wait_until_succeeds(f"test $(systemctl show --property=NRestarts --value {unit}) -gt {restarts}", timeout=60)
    head.wait_for_unit(f"{unit}.service", timeout=120)


def kill_gcs():
    ends_and_starts("ray-head", "pkill --signal KILL --uid ray --exact gcs_server")


def stop_and_start():
    head.succeed("systemctl stop ray-head", timeout=60)
    head.succeed("systemctl start ray-head", timeout=120)


def kill_redis():
    """The GCS ends when its Redis does not answer, and with it the head."""
    ends_and_starts("ray-head", "systemctl kill --signal=KILL redis-ray")
    assert int(property_of(head, "redis-ray", "NRestarts")) > 0


def keeps(*deaths):
    """After each of these deaths, the worker has gone on, and the head knows of its actor and of the job."""
    remember()
    before = property_of(worker, "ray-worker", "MainPID")
    count, process = counted()
    for death in deaths:
        death()
        count += 1
        assert counted() == [count, process], death.__name__
        assert "remembered" in jobs(), death.__name__
    assert property_of(worker, "ray-worker", "MainPID") == before
    wait_for_nodes(head, 2)


with subtest("with storage on the head's disk, nodes, actors and jobs are kept"):
    keeps(kill_gcs, stop_and_start)

with subtest("with storage in Redis, they are kept, also when Redis itself is killed"):
    use("redis")
    keeps(kill_gcs, stop_and_start, kill_redis)

with subtest("its password is in no argument, no environment, no log and no unit"):
    password = "/var/lib/redis-ray/password"
    assert head.succeed(f"stat -c '%a %U' $(dirname {password}) {password}").split() == [
        *("700", "redis-ray"),
        *("640", "redis-ray"),
    ]
    # The pattern comes from a file: on grep's own command line it would find itself.
    head.succeed(f"grep -aqFf {password} {password}")
    for place in ("/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ", "-r /var/lib/ray /etc /nix/store/ray-node"):
        head.fail(f"grep -aqsFf {password} {place}")
    head.fail("redis-cli -p 6390 keys '*' | grep RAY")

with subtest("without storage, all is forgotten, and the cluster works again"):
    use("forgetful")
    remember()
    before = property_of(worker, "ray-worker", "MainPID")
    kill_gcs()
    wait_for_nodes(head, 2, timeout=180)
    assert property_of(worker, "ray-worker", "MainPID") != before, "the worker did not start anew"
    assert "remembered" not in jobs()
    head.fail(
        as_ray(
            "RAY_ADDRESS=auto python3 -c "
            + shlex.quote("import ray; ray.init(logging_level='ERROR', namespace='test'); ray.get_actor('counter')")
        ),
        timeout=60,
    )
    # The name is free, and the worker takes what it is given.
    remember()
    assert counted()[0] == 2
