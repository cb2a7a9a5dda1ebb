"""Machines that serve language models: their RPC servers are the cluster's alone, come back, and are counted by Ray."""

PORT = 50052
ADDRESSES = {head: "10.42.0.1", worker: "10.42.0.2", worker2: "10.42.0.3"}
RPC = "ray-llama-rpc-cpu"

bring_up(head, worker, worker2)
outsider.start()
# A node is told what it offers when it starts.
for machine in ADDRESSES:
    switch(machine, "llama")
wait_for_nodes(head, 3)


def connects(machine, address):
    """A command that succeeds where the machine reaches the RPC server there; nothing is said to it."""
    return f"timeout 3 bash -c '</dev/tcp/{address}/{PORT}' 2> /dev/null"


with subtest("each device has its RPC server, on the cluster's address alone"):
    for machine, address in ADDRESSES.items():
        machine.wait_for_unit(f"{RPC}.service", timeout=60)
        machine.wait_for_open_port(PORT, address, timeout=60)
        listening = machine.succeed(f"ss --no-header --listening --tcp --numeric 'sport = :{PORT}'").splitlines()
        assert [line.split()[3] for line in listening] == [f"{address}:{PORT}"], listening

with subtest("the cluster reaches them, and nobody else"):
    for machine in ADDRESSES:
        for address in ADDRESSES.values():
            # Each serves one at a time.
            machine.wait_until_succeeds(connects(machine, address), timeout=20)
    outsider.wait_until_succeeds("ping -c 1 192.168.42.2")
    outsider.succeed("ip route add 10.42.0.0/24 via 192.168.42.2")
    for address in ("192.168.42.2", "10.42.0.2"):
        outsider.fail(connects(outsider, address))

with subtest("one that is killed, or dies of a client, is back"):
    for disturb in (
        f"systemctl kill --signal=KILL {RPC}",
        f"head -c 65536 /dev/urandom > /dev/tcp/10.42.0.2/{PORT} || true",
    ):
        worker.succeed(disturb)
        worker.wait_until_succeeds(f"systemctl is-active {RPC}", timeout=20)
        head.wait_until_succeeds(connects(head, "10.42.0.2"), timeout=20)
    assert int(property_of(worker, RPC, "NRestarts")) >= 1

with subtest("they may do little"):
    exposure = worker.succeed(f"systemd-analyze security --no-pager {RPC} | tail -n 1")
    assert float(exposure.split(":")[1].split()[0]) <= 1.2, exposure

with subtest("Ray counts them, and the coordinators that may run"):
    said = python(
        head,
        """
import json, os, subprocess, ray
ray.init(logging_level="ERROR")
labels = {n["NodeManagerAddress"]: n["Labels"] for n in ray.nodes() if n["Alive"]}

@ray.remote(num_cpus=0, resources={"llama_coordinator": 1})
def coordinator():
    version = subprocess.run([os.environ["LLAMA_SERVER"], "--version"], capture_output=True, text=True, timeout=60)
    return {
        "status": version.returncode,
        "said": version.stdout + version.stderr,
        "port": os.environ["LLAMA_BASE_PORT"],
        "reads": os.access("/var/lib/ray-models", os.R_OK),
        "writes": os.access("/var/lib/ray-models", os.W_OK),
    }

print(json.dumps({"resources": ray.cluster_resources(), "labels": labels, "ran": ray.get(coordinator.remote())}))
""",
    )
    found = json.loads(said.strip().splitlines()[-1])
    assert found["resources"]["llama_coordinator"] == 3, found
    for address in ADDRESSES.values():
        assert found["resources"][f"llama_rpc:{address}:{PORT}"] == 1, found
        assert found["labels"][address]["ray-nixos/llama-CPU"] == "true", found
    ran = found["ran"]
    assert ran["status"] == 0 and "version" in ran["said"] and ran["port"] == "18080", ran
    assert ran["reads"] and not ran["writes"], ran

with subtest("each node reports itself, also after it has started anew"):
    for machine in ADDRESSES:
        machine.wait_for_unit("ray-llama-register.service", timeout=120)
    before = property_of(worker, "ray-llama-register", "MainPID")
    worker.succeed("systemctl restart ray-worker", timeout=180)
    worker.wait_for_unit("ray-llama-register.service", timeout=120)
    assert property_of(worker, "ray-llama-register", "MainPID") != before
