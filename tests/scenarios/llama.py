"""Machines that serve language models: their RPC servers are the cluster's alone, come back, and are counted by Ray; a
model that is too large for one machine is spread over others, and asked on while any of them dies, hangs or lies."""

PORT = 50052
ADDRESSES = {head: "10.42.0.1", worker: "10.42.0.2", worker2: "10.42.0.3"}
ENDPOINTS = {f"{address}:{PORT}": machine for machine, address in ADDRESSES.items()}
RPC = "ray-llama-rpc-cpu"
SERVED = "http://127.0.0.1:8000/v1"
AUTHORIZED = "--oauth2-bearer $(cat /var/lib/ray/token)"

# A model of 8 layers, each of 15 MiB with its cache, as llama.cpp loads it. Its weights are random, the same on every
# machine; only letters have any in the output, so that it says nothing else, and never that it has come to an end.
MODEL = """
import os, struct
import numpy as np
LAYERS, WIDTH, HEADS, CONTEXT = 8, 512, 8, 4096
TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *"abcdefghijklmnopqrstuvwxyz"]
def text(words):
    return struct.pack("<Q", len(words)) + words.encode()
def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value
def row(name, kind, values):
    return key(name, 9, struct.pack("<IQ", kind, len(values)) + b"".join(values))
numbers = {
    "block_count": LAYERS, "context_length": CONTEXT, "embedding_length": WIDTH, "feed_forward_length": WIDTH,
    "attention.head_count": HEADS, "attention.head_count_kv": HEADS, "rope.dimension_count": WIDTH // HEADS,
}
keys = [
    key("general.architecture", 8, text("llama")),
    *(key("llama." + name, 4, struct.pack("<I", number)) for name, number in numbers.items()),
    key("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
    key("tokenizer.ggml.model", 8, text("llama")),
    row("tokenizer.ggml.tokens", 8, [text(token) for token in TOKENS]),
    row("tokenizer.ggml.scores", 6, [struct.pack("<f", 0.0)] * len(TOKENS)),
    row("tokenizer.ggml.token_type", 5, [struct.pack("<i", n) for n in [2, 3, 3] + [6] * 256 + [1] * 26]),
]
square, line = (WIDTH, WIDTH), (WIDTH,)
layer = {"attn_norm": line, "ffn_norm": line} | dict.fromkeys(
    ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"), square)
shapes = {"token_embd": (len(TOKENS), WIDTH), "output_norm": line, "output": (len(TOKENS), WIDTH)}
shapes |= {f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in layer.items()}
draw = np.random.default_rng(7)
weights = {name: draw.normal(0, 0.05, shape).astype("<f4") for name, shape in shapes.items()}
weights |= {name: np.ones_like(each) for name, each in weights.items() if "norm" in name}
weights["output"][:-26] = 0
described, offset = b"", 0
for name, each in weights.items():
    sides = each.shape[::-1]
    described += text(name + ".weight") + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, 0, offset)
    offset += each.nbytes
header = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(keys)) + b"".join(keys) + described
with open("/var/lib/ray-models/tiny.partial", "wb") as file:
    file.write(header + bytes(-len(header) % 32))
    for each in weights.values():
        file.write(each.tobytes())
os.rename("/var/lib/ray-models/tiny.partial", "/var/lib/ray-models/tiny.gguf")
"""


def give_model(machine):
    """Put the model where the machine's units look for it."""
    machine.succeed(f"python3 -c {shlex.quote(MODEL)}", timeout=60)


def give_ram(machine, mebibytes):
    """Have so much of 2 GiB be free, for the unit that reports it: what a virtual machine or a container is told to
    have is a choice, and only a machine that is small has to ask others. All that is reported beside it is real.
    """
    sizes = dict.fromkeys(("Buffers", "Cached", "Active", "Inactive", "Shmem"), 0)
    sizes |= {"MemTotal": 2 << 20, "MemFree": mebibytes << 10, "MemAvailable": mebibytes << 10}
    lines = "".join(f"{name}: {size} kB\n" for name, size in sizes.items())
    # In its place, since the file itself is bound.
    machine.succeed(f"printf %s {shlex.quote(lines)} > /run/meminfo")


# A coordinator needs 1280 MiB for the rest of its machine and itself, and an RPC server 512: here worker has room for
# two layers as coordinator, and the others for five each.
bring_up(head, worker, worker2)
outsider.start()
for machine, mebibytes in {head: 590, worker: 1325, worker2: 590}.items():
    give_ram(machine, mebibytes)
    machine.succeed(
        "mkdir -p /run/systemd/system/ray-llama-register.service.d",
        "printf '[Service]\nBindReadOnlyPaths=/run/meminfo:/proc/meminfo\n' "
        "> /run/systemd/system/ray-llama-register.service.d/ram.conf",
    )
# A node is told what it offers when it starts. The head comes last, since what it serves may be put on any of them.
for machine in (worker, worker2):
    switch(machine, "llama")

with subtest("a node reports itself, also after it has started anew"):
    give_model(worker)
    worker.wait_for_unit("ray-llama-register.service", timeout=120)
    before = property_of(worker, "ray-llama-register", "MainPID")
    worker.succeed("systemctl restart ray-worker", timeout=180)
    worker.wait_for_unit("ray-llama-register.service", timeout=120)
    assert property_of(worker, "ray-llama-register", "MainPID") != before

switch(head, "llama")
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


def nodes():
    """What `cognitive nodes` says of each, by name."""
    said = head.succeed(as_ray("RAY_ADDRESS=auto cognitive nodes --json"), timeout=60)
    return {node["name"]: node for node in json.loads(said.strip().splitlines()[-1])["nodes"]}


def models_of(known, free=0):
    """Names of the models of each node that has more than so many bytes of RAM free."""
    found = {name: node["models"] for name, node in known.items() if node["available"] > free}
    return {name: [model["name"] for model in models] for name, models in found.items()}


def curl(tokens, *options):
    """A command that asks the service on the head: always for the same, to be answered with so many tokens."""
    question = {"model": "tiny", "messages": [{"role": "user", "content": "abc"}], "temperature": 0}
    body = shlex.quote(json.dumps(question | {"max_tokens": tokens, "stream": "--no-buffer" in options}))
    return f"curl --silent --max-time 240 {' '.join(options)} --json {body} {SERVED}/chat/completions"


def answer():
    """The text of an answer; raises with what is said instead."""
    found = json.loads(head.succeed(curl(20, AUTHORIZED), timeout=250))
    assert "choices" in found, found
    assert found["usage"]["completion_tokens"] == 20, found
    return found["choices"][0]["message"]["content"]


def events_of(stream):
    """The events of a stream that the service has sent."""
    return [line.removeprefix("data: ") for line in stream.splitlines() if line]


def pool():
    """Who serves the model: the machine of the coordinator, and those of the RPC servers."""
    (found,) = json.loads(head.succeed(f"curl --silent --fail --max-time 20 {SERVED}/status"))["pools"]
    machines = {machine.name: machine for machine in ADDRESSES}
    return machines[found["coordinator"]], [ENDPOINTS[endpoint] for endpoint in found["layers"]]


# What drivers on the head begin with. The name is that of the service's router, which they then share.
ROUTERS = """
import json, os, threading, time, ray
from cognitive_actors.llama import Done, RayHybridRouter, node_registry
from cognitive_actors.llama.errors import DeadlineExceeded
from cognitive_actors.placement import DoesNotFit
ray.init(logging_level="ERROR", namespace="cognitive")
QUESTION = [{"role": "user", "content": "abc"}]
of_service = RayHybridRouter(name="llama-router")

def text(router, **options):
    answer = router.chat("tiny", QUESTION, max_tokens=20, temperature=0, **options)
    return answer["choices"][0]["message"]["content"]

def forget():
    # Failures on purpose are not to keep anybody from what comes next.
    # Not by `ray.kill`: a GCS that has started anew does not reach the process of an actor that is older.
    ray.get(node_registry().__ray_call__.remote(lambda _: threading.Timer(0.2, os._exit, (1,)).start()))
    # It may still answer for a while, and the next one knows nobody at first.
    while True:
        known = ray.get(node_registry().known.remote())
        if len(known) == 3 and not any(each.failures or each.shut for each in known):
            return
        time.sleep(0.2)
"""


def routed(program):
    """What a driver on the head says at its end, as JSON."""
    return json.loads(python(head, ROUTERS + program, timeout=300).strip().splitlines()[-1])


with subtest("the cluster knows who has which model"):
    for machine in ADDRESSES:
        machine.wait_for_unit("ray-llama-register.service", timeout=120)
    # The registry may have been on the machine that was switched last.
    retry(lambda _last: models_of(nodes()) == {"head": [], "worker": ["tiny"], "worker2": []}, 60)
    known = nodes()
    for machine, address in ADDRESSES.items():
        (device,) = known[machine.name]["devices"]
        assert device["endpoint"] == f"{address}:{PORT}", known
        assert device["build"] == known["worker"]["build"] != "", known
    table = head.succeed(as_ray("RAY_ADDRESS=auto cognitive nodes"), timeout=60)
    assert all(name in table for name in known), table

with subtest("a model that is too large for its machine is spread over the others"):
    head.wait_for_unit("ray-serve.service", timeout=300)
    head.wait_until_succeeds(f"curl --silent --fail --max-time 10 {SERVED}/ready", timeout=180)
    found = routed("""
whole = text(of_service)
*chunks, end = of_service.stream("tiny", QUESTION, max_tokens=20, temperature=0)
assert isinstance(end, Done) and not any(isinstance(chunk, Done) for chunk in chunks), end
told = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in json.loads(chunk)["choices"])
print(json.dumps({"whole": whole, "told": told, "reason": end.finish_reason, "pools": of_service.pools}))
""")
    expected = found["whole"]
    assert len(expected) == 20 and found["told"] == expected and found["reason"] == "length", found
    (spread,) = found["pools"]
    assert spread["coordinator"] == "worker" and spread["kept"] == 2, spread
    assert set(spread["layers"]) == {f"10.42.0.1:{PORT}", f"10.42.0.3:{PORT}"}, spread
    assert spread["kept"] + sum(spread["layers"].values()) == 9, spread
    # What llama-server says is in the journal of its machine.
    worker.succeed("journalctl --no-pager --quiet --identifier=llama-server | grep 'listening on http'")

# What is loaded stays as it is. After that two machines may have the coordinator, and one RPC server holds all that it
# does not keep.
give_model(worker2)
give_ram(worker2, 1325)
give_ram(head, 2000)

with subtest("it is asked over HTTP, with the token"):
    refused = head.succeed(curl(20, "--output /dev/null --write-out '%{http_code}'"))
    assert refused == "401", refused
    assert answer() == expected
    *chunks, end = events_of(head.succeed(curl(20, AUTHORIZED, "--no-buffer")))
    assert end == "[DONE]", end
    deltas = [choice["delta"] for chunk in chunks for choice in json.loads(chunk)["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == expected, deltas

retry(lambda _last: models_of(nodes(), 1 << 30) == {"head": [], "worker": ["tiny"], "worker2": ["tiny"]}, 60)

with subtest("an RPC server is killed while nobody asks, and the next question is answered"):
    head.succeed(f"systemctl kill --signal=KILL {RPC}")
    assert answer() == expected
    head.wait_until_succeeds(f"systemctl is-active {RPC}", timeout=20)

with subtest("one that is killed in mid-stream is said in the stream, and the next question is answered"):
    _, (server, *_) = pool()
    start_unit(head, "stream", f"{curl(3900, AUTHORIZED, '--no-buffer')} > /var/lib/ray/stream")
    head.wait_until_succeeds("test $(grep --count data: /var/lib/ray/stream) -gt 5", timeout=60)
    server.succeed(f"systemctl kill --signal=KILL {RPC}")
    finish_unit(head, "stream")
    events = events_of(head.succeed("cat /var/lib/ray/stream"))
    assert "[DONE]" not in events, events[-1]
    assert json.loads(events[-1])["error"]["type"] == "CoordinatorFailed", events[-1]
    assert answer() == expected

with subtest("one that hangs makes one question late, and the next is answered without it"):
    late = """
import pathlib
text(of_service)
pathlib.Path("/var/lib/ray/asks").touch()
while not pathlib.Path("/var/lib/ray/hangs").exists():
    time.sleep(0.05)
try:
    print("answered", text(of_service, seconds=4.0))
except DeadlineExceeded as late:
    print("late:", late)
"""
    start_unit(head, "asking", f"python3 -c {shlex.quote(ROUTERS + late)}", "RAY_ADDRESS=auto RAY_LOG_TO_DRIVER=0")
    head.wait_for_file("/var/lib/ray/asks", timeout=120)
    _, (hung,) = pool()
    hung.succeed(f"systemctl kill --signal=STOP {RPC}")
    head.succeed("touch /var/lib/ray/hangs")
    said = finish_unit(head, "asking")
    assert "late:" in said, said
    assert answer() == expected
    assert hung not in pool()[1]
    hung.succeed(f"systemctl kill --signal=CONT {RPC}")

with subtest("a coordinator that is killed is begun anew"):
    coordinator, _ = pool()
    coordinator.succeed("pkill --signal KILL --exact llama-server")
    assert answer() == expected

with subtest("of two routers that want one RPC server, one has it, and the other is told"):
    found = routed("""
forget()
of_service.release("tiny")
one, other = (RayHybridRouter(["10.42.0.1:50052"], auto_discover_rpc=False) for _ in range(2))
said = {"answered": text(one)}
try:
    text(other)
except DoesNotFit as error:
    said["refused"] = str(error)
one.close()
said["then"] = text(other)
other.close()
print(json.dumps(said))
""")
    assert found["answered"] == found["then"] == expected, found
    assert "it is leased" in found.get("refused", ""), found

with subtest("one of another version is told by name, and done without"):
    head.succeed(f"systemctl stop {RPC}")
    # The greeting of an RPC server of long ago.
    pretend = f"""
import socketserver, struct
class Old(socketserver.BaseRequestHandler):
    def handle(self):
        size = struct.unpack("<xQ", self.request.recv(9, 256))[0]
        self.request.recv(size, 256)
        self.request.sendall(struct.pack("<Q", 28) + bytes([3, 0, 0]) + bytes(25))
        self.request.recv(1)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("10.42.0.1", {PORT}), Old).serve_forever()
"""
    start_unit(head, "pretend", f"python3 -c {shlex.quote(pretend)}")
    head.wait_for_open_port(PORT, "10.42.0.1", timeout=30)
    found = routed("""
router = RayHybridRouter(["10.42.0.1:50052"], auto_discover_rpc=False)
try:
    said = {"answered": text(router)}
except DoesNotFit as error:
    said = {"refused": [str(error), *getattr(error, "__notes__", ())]}
router.close()
print(json.dumps(said))
""")
    assert any("version mismatch: RPC server 10.42.0.1" in line for line in found.get("refused", ())), found
    assert answer() == expected
    assert head not in pool()[1]
    head.succeed("systemctl stop pretend", f"systemctl start {RPC}")

with subtest("the machine of a coordinator loses its power, and another one answers"):
    coordinator, _ = pool()
    coordinator.crash()
    # What the machine had of the service itself comes back elsewhere as well.
    head.wait_until_succeeds(f"{curl(20, AUTHORIZED)} | grep {expected}", timeout=240)
    assert pool()[0] is not coordinator
