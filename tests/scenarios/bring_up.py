"""A head and two workers come up from nothing but their configuration and a token, and work."""

bring_up(head, worker, worker2)
hand_out_token(head, client)

with subtest("three nodes are alive"):
    assert alive_nodes(head) == ["10.42.0.1", "10.42.0.2", "10.42.0.3"]

with subtest("the probe of each node answers without a token, and that of the head where its dashboard is"):
    probe = "curl --silent --max-time 5 --noproxy '*' http://{}"
    for machine in (head, worker):
        assert machine.succeed(probe.format("127.0.0.1:52365/api/local_raylet_healthz")) == "success"
    assert head.succeed(probe.format(f"{HEAD}:8265/api/gcs_healthz")) == "success"

with subtest("a task runs on each"):
    python(
        head,
        """
import socket, ray
ray.init(logging_level="ERROR")
@ray.remote(num_cpus=0)
def name():
    return socket.gethostname()
for host, address in {"head": "10.42.0.1", "worker": "10.42.0.2", "worker2": "10.42.0.3"}.items():
    assert ray.get(name.options(resources={f"node:{address}": 0.001}).remote(), timeout=60) == host
""",
    )

with subtest("the cognitive pipeline runs on all nodes"):
    stimuli = "".join(
        json.dumps({"id": f"{agent}-{day}", "agent": f"a{agent}", "time": day, "observation": {"weather": "rain"}})
        + "\n"
        for day in range(5)
        for agent in range(40)
    )
    head.succeed(f"cat > /var/lib/ray/days.jsonl <<'END'\n{stimuli}END\nchown ray /var/lib/ray/days.jsonl")
    summary = json.loads(
        head.succeed(as_ray(f"cognitive run days.jsonl --address {GCS} --out out --json"), timeout=300)
    )
    assert (summary["records"], summary["results"], summary["rejects"]) == (200, 200, 0), summary
    used = python(
        head,
        """
from ray.util.state import list_actors
print(len({a.node_id for a in list_actors(detail=True) if a.class_name == "PopulationActor"}))
""",
    )
    assert used.strip() == "3", f"the actors lived on {used} nodes"

with subtest("what does not fit into the object store goes to its own directory"):
    head.succeed(
        as_ray(
            "python3 -c "
            + shlex.quote(
                f"""
import numpy, ray
ray.init({GCS!r}, logging_level="ERROR")
kept = [ray.put(numpy.full(100_000_000 // 8, float(i))) for i in range(8)]
assert [ray.get(one)[-1] for one in kept] == list(range(8))
import os
assert any(files for _, _, files in os.walk("/var/lib/ray/spill")), "nothing was spilled"
"""
            )
        ),
        timeout=120,
    )

with subtest("a client works with the cluster without being part of it"):
    client.succeed("install -d -o alice /home/alice")

    def as_alice(command):
        return f"cd /home/alice && setpriv --reuid=alice --regid=ray --clear-groups -- env HOME=/home/alice {command}"

    client.succeed(as_alice("cognitive status --json"), timeout=120)
    client.succeed(f"cat > /home/alice/days.jsonl <<'END'\n{stimuli}END")
    summary = json.loads(client.succeed(as_alice("cognitive run days.jsonl --out out --json"), timeout=300))
    assert summary["results"] == 200, summary
    said = client.succeed(as_alice("ray job submit -- python3 -c 'print(6 * 7)'"), timeout=120)
    assert "42" in said, said

with subtest("the unit is a closed room"):
    for machine, unit in ((head, "ray-head"), (worker, "ray-worker")):
        said = machine.succeed(f"systemd-analyze security {unit}.service | tail -n 1")
        level = float(said.split(":")[1].split()[0])
        assert level <= 1.5, said

with subtest("the token is in no argument, no environment and no unit"):
    assert head.succeed("stat -c '%a %U %G' /var/lib/ray/token").strip() == "640 ray ray"
    head.fail("setpriv --reuid=nobody --regid=nogroup --clear-groups cat /var/lib/ray/token")
    # The pattern comes from a file: on grep's own command line it would find itself.
    for machine, token in ((head, "/var/lib/ray/token"), (worker, TOKEN)):
        machine.succeed(f"grep -aqFf {token} {token}")
        for place in ("/proc/[0-9]*/cmdline", "/proc/[0-9]*/environ", "-r /etc /nix/store/ray-node"):
            machine.fail(f"grep -aqsFf {token} {place}")

with subtest("nothing answers the probe of a node that is stopped"):
    worker.succeed("systemctl stop ray-worker", timeout=90)
    worker.fail(probe.format("127.0.0.1:52365/api/local_raylet_healthz"))
