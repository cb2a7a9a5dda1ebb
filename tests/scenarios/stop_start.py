"""Nodes are stopped, started, lost and found again, in any order."""

bring_up(head, worker, worker2)


def nothing_left(machine, unit):
    """A stop is a success that leaves no process behind."""
    assert property_of(machine, unit, "Result") == "success"
    assert property_of(machine, unit, "ActiveState") == "inactive"
    machine.fail("pgrep --uid ray")


with subtest("a worker stops cleanly and comes back"):
    worker.succeed("systemctl stop ray-worker", timeout=90)
    nothing_left(worker, "ray-worker")
    wait_for_nodes(head, 2, timeout=30)
    worker.succeed("systemctl start ray-worker", timeout=120)
    # `systemctl start` returns when the node is ready, so it is there at once.
    wait_for_nodes(head, 3, timeout=10)

with subtest("a stopping worker finishes its task"):
    head.succeed(
        "cat > /root/long_task.py <<'END'\n"
        """
import time, ray
ray.init(logging_level="ERROR")
@ray.remote(num_cpus=0, max_retries=0, resources={"node:10.42.0.2": 0.001})
def slow():
    open("/var/lib/ray/began", "w").close()
    time.sleep(8)
    return "finished"
print(ray.get(slow.remote(), timeout=100))
END
(python3 /root/long_task.py > /root/long_task.out 2>&1 &)"""
    )
    worker.wait_for_file("/var/lib/ray/began", timeout=180)
    worker.succeed("systemctl stop ray-worker", timeout=90)
    head.wait_until_succeeds("grep -q finished /root/long_task.out", timeout=180)
    nothing_left(worker, "ray-worker")
    worker.succeed("systemctl start ray-worker", timeout=120)

with subtest("the head stops cleanly, and its workers find it again"):
    head.succeed("systemctl stop ray-head", timeout=60)
    nothing_left(head, "ray-head")
    head.succeed("systemctl start ray-head", timeout=120)
    wait_for_nodes(head, 3, timeout=180)

with subtest("workers may be there before their head"):
    worker.succeed("systemctl stop ray-worker", timeout=90)
    head.succeed("systemctl stop ray-head", timeout=60)
    worker.succeed("systemctl start --no-block ray-worker")
    worker.wait_until_succeeds(
        "systemctl show --property=StatusText ray-worker | grep -q 'waiting for the head at 10.42.0.1:6379'", timeout=30
    )
    head.succeed("systemctl start ray-head", timeout=120)
    worker.wait_for_unit("ray-worker.service", timeout=60)
    wait_for_nodes(head, 3, timeout=180)

with subtest("a hung raylet is not a healthy node"):
    restarts = int(property_of(worker2, "ray-worker", "NRestarts"))
    worker2.succeed("pkill --signal STOP --uid ray --exact raylet")
    worker2.wait_until_succeeds(
        f"test $(systemctl show --property=NRestarts --value ray-worker) -gt {restarts}", timeout=90
    )
    worker2.wait_for_unit("ray-worker.service", timeout=120)
    worker2.succeed(in_journal("ray-worker", "no answer from 10.42.0.3:6380"))

with subtest("a vanished raylet is not a healthy node"):
    restarts = int(property_of(worker2, "ray-worker", "NRestarts"))
    worker2.succeed("pkill --signal TERM --uid ray --exact raylet")
    worker2.wait_until_succeeds(
        f"test $(systemctl show --property=NRestarts --value ray-worker) -gt {restarts}", timeout=90
    )
    worker2.wait_for_unit("ray-worker.service", timeout=120)
    wait_for_nodes(head, 3, timeout=120)

with subtest("logs outlive a restart"):
    starts = int(worker2.succeed("ls -d /var/lib/ray/s/session_2*/logs* | wc -l"))
    assert starts >= 2, starts

with subtest("no unit has failed"):
    for machine in (head, worker, worker2):
        assert machine.succeed("systemctl list-units --failed --no-legend 'ray-*'").strip() == ""
