"""A switch to another configuration restarts what it must and nothing else."""

bring_up(head, worker, worker2)


def cpus(address):
    """CPUs that the living node at an address offers."""
    answer = python(
        head,
        f"""
import ray
ray.init(logging_level="ERROR")
nodes = [n for n in ray.nodes() if n["Alive"] and n["NodeManagerAddress"] == "{address}"]
print(sum(n["Resources"].get("CPU", 0) for n in nodes))
""",
    )
    return float(answer.strip().splitlines()[-1])


before = property_of(worker, "ray-worker", "MainPID")
others = [(head, "ray-head"), (worker2, "ray-worker")]
pids = [property_of(machine, unit, "MainPID") for machine, unit in others]

with subtest("a rule of the firewall restarts no node"):
    switch(worker, "open-metrics")
    assert property_of(worker, "ray-worker", "MainPID") == before
    head.wait_until_succeeds("curl -sf -m 5 --noproxy '*' -o /dev/null http://10.42.0.2:52368/metrics", timeout=30)

with subtest("a node that is not to be restarted goes on"):
    switch(worker, "frozen")
    assert property_of(worker, "ray-worker", "MainPID") == before
    assert cpus("10.42.0.2") == 2

with subtest("a changed resource restarts its node"):
    switch(worker, "fewer-cpus")
    worker.wait_for_unit("ray-worker.service", timeout=120)
    assert property_of(worker, "ray-worker", "MainPID") != before
    wait_for_nodes(head, 3)
    assert cpus("10.42.0.2") == 1

with subtest("and back"):
    switch(worker)
    worker.wait_for_unit("ray-worker.service", timeout=120)
    wait_for_nodes(head, 3)
    assert cpus("10.42.0.2") == 2

with subtest("the other machines noticed nothing"):
    assert pids == [property_of(machine, unit, "MainPID") for machine, unit in others]
