"""All services on three machines, under load, while replicas, actors, a worker and the head are killed: whoever was
told that something is done finds it done, and done once."""

# A port that the machine's firewall lets the cluster reach.
PORT = 10190
ENOUGH, FOUND, PROGRESS = (f"/var/lib/ray/clients.{name}" for name in ("enough", "found", "progress"))
SERVED = "http://127.0.0.1:8000"
MACHINES = durable_head, durable_worker, durable_worker2
SERVICES = ("cognitive", "organism", "state", "pipeline", "ml", "energy")

# Four clients that ask for one thing after the other, through the proxy of their own machine, and each again until it
# is acknowledged. Each is named, since one whose answer was lost is sent again.
CLIENTS = f"""
import json, pathlib, threading, time, urllib.error, urllib.request
token = pathlib.Path("{TOKEN}").read_text().strip()
acknowledged, refusals, lock = [], [], threading.Lock()
WEATHER = ("rain", "sun", "fog", "drizzle", "snow")

def request(method, path, body, key):
    return urllib.request.Request(
        f"{SERVED}{{path}}", json.dumps(body).encode(), method=method,
        headers={{"Authorization": f"Bearer {{token}}", "Content-Type": "application/json", "Idempotency-Key": key}})

def ask(method, path, body, key):
    end = time.monotonic() + 300
    while True:
        try:
            with urllib.request.urlopen(request(method, path, body, key), timeout=15) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            if error.code < 500 and error.code not in (404, 408, 429) or time.monotonic() > end:
                raise RuntimeError(f"{{method}} {{path}} {{key}}: {{error.code}} {{text}}")
            # Serve's proxy says 500 as well, where the replica that it has asked is gone.
            refused = f"{{path}} {{'at fault' if 'a fault of this service' in text else error.code}}"
        except OSError as error:
            if time.monotonic() > end:
                raise
            refused = f"{{path}} {{type(error).__name__}}"
        with lock:
            refusals.append(refused)
        time.sleep(0.2)

def client(number):
    turn = 0
    while not pathlib.Path("{ENOUGH}").exists():
        turn += 1
        key = f"{{number}}-{{turn}}"
        seen = {{"weather": WEATHER[turn % 5]}}
        task = {{"id": key, "stimulus": {{"agent": f"sent by {{number}}", "observation": seen}}}}
        for method, path, body in (
            ("POST", "/cognitive/execute", {{"agent": f"executed by {{number}}", "observation": seen}}),
            ("POST", "/organism/step", {{"agent": f"stepped by {{number}}", "observation": seen}}),
            ("PUT", f"/state/{{key}}", {{"value": turn}}),
            ("POST", "/pipeline/tasks", task),
            ("POST", "/ml/drift", {{"stream": f"of {{number}}", "values": [turn % 3]}}),
            ("POST", "/energy/terms", {{"observation": seen}}),
        ):
            ask(method, path, body, f"{{path}} {{key}}")
            with lock:
                acknowledged.append((path, number, key))
                print(key, file=progress, flush=True)

progress = open("{PROGRESS}", "w")
clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
for each in clients: each.start()
for each in clients: each.join()
pathlib.Path("{FOUND}").write_text(json.dumps({{"acknowledged": acknowledged, "refusals": refusals}}))
"""


def asked(path):
    """What a service says, asked through the proxy of the head."""
    quoted = shlex.quote(SERVED + path)
    return json.loads(durable_head.succeed(f"curl --silent --fail --max-time 20 {quoted}"))


def drift_of(number):
    """Numbers that the drift of a client's stream has counted, before one more."""
    said = durable_head.succeed(
        f"curl --silent --fail --max-time 20 --oauth2-bearer $(cat /var/lib/ray/token) --json "
        f"""'{{"stream": "of {number}", "values": [0]}}' {SERVED}/ml/drift"""
    )
    return json.loads(said)["seen"] - 1


def progress():
    """How many things the clients were told are done."""
    status, text = durable_worker2.execute(f"wc -l < {PROGRESS}")
    return int(text) if status == 0 else 0


def goes_on(more=100, timeout=300):
    """Wait until clients have been told so many more times that something is done."""
    before = progress()
    retry(lambda _last: still_running(durable_worker2, "clients") and progress() >= before + more, timeout)


with subtest("the services are up on a store that no death takes along"):
    password = durable_worker2.succeed("openssl rand -hex 32").strip()
    for machine in MACHINES:
        give_secret(machine, "checkpoints-password", password)
    durable_worker2.succeed(
        "install -d -m 0700 /var/lib/redis",
        f"""cat > /var/lib/redis/redis.conf <<END
bind 10.42.0.3
port {PORT}
requirepass {password}
appendonly yes
appendfsync always
dir /var/lib/redis
END""",
        'systemd-run --unit=checkpoints "$(command -v redis-server)" /var/lib/redis/redis.conf',
    )
    durable_worker2.wait_for_open_port(PORT, "10.42.0.3", timeout=30)
    bring_up(*MACHINES)
    durable_head.wait_for_unit("ray-serve.service", timeout=300)
    durable_head.wait_for_unit("ray-bootstrap.service", timeout=180)
    durable_worker2.wait_until_succeeds(f"curl --silent --fail --max-time 5 {SERVED}/organism/health", timeout=120)

with subtest("clients are told that things are done"):
    durable_worker2.succeed(f"cat > /var/lib/ray/clients.py <<'END'\n{CLIENTS}\nEND")
    start_unit(durable_worker2, "clients", "python3 /var/lib/ray/clients.py")
    goes_on()

with subtest("replicas are killed"):
    for name in SERVICES:
        pattern = f"'^ray::ServeReplica:{name}:'"
        killed = [m for m in MACHINES if m.execute(f"pkill --signal KILL --full {pattern}")[0] == 0]
        assert killed, f"no machine has a replica of {name}"
    goes_on()

with subtest("actors that own the state are killed"):
    for name in ("PopulationActor", "SharedStateActor", "StreamStatisticsActor", "TaskLedger"):
        killed = [m for m in MACHINES if m.execute(f"pkill --signal KILL --full '^ray::{name}'")[0] == 0]
        assert killed, f"no machine has a {name}"
    goes_on()

with subtest("a worker loses its power"):
    durable_worker.crash()
    goes_on()
    durable_worker.start()
    durable_worker.wait_for_unit("ray-worker.service", timeout=180)

with subtest("the head loses its power"):
    wait_for_nodes(durable_head, 3)
    durable_head.crash()
    durable_head.start()
    durable_head.wait_for_unit("ray-head.service", timeout=180)
    goes_on()

with subtest("the clients have had enough, and their machine leaves"):
    durable_worker2.succeed(f"touch {ENOUGH}")
    finish_unit(durable_worker2, "clients")
    found = json.loads(durable_worker2.succeed(f"cat {FOUND}"))
    # Whatever it had of the services is found again on machines that have lost their power since.
    durable_worker2.succeed("systemctl stop ray-worker", timeout=180)
    for name in SERVICES:
        durable_head.wait_until_succeeds(f"curl --silent --fail --max-time 20 {SERVED}/{name}/ready", timeout=120)

with subtest("what was acknowledged is done, once"):
    told = [(path.split("/")[1], number, key) for path, number, key in found["acknowledged"]]
    durable_worker2.log(f"{len(told)} acknowledged, sent again: {found['refusals']}")
    assert found["refusals"], "nobody has noticed that anything was killed"
    assert not any(refusal.endswith("at fault") for refusal in found["refusals"])
    tasks = {key for service, _, key in told if service == "pipeline"}
    retry(lambda _last: tasks <= {task["id"] for task in asked("/pipeline/tasks?state=done&limit=1000")["tasks"]}, 120)
    for number in range(4):
        of = {name: [key for service, n, key in told if (service, n) == (name, number)] for name in SERVICES}
        for who, service in (("executed", "cognitive"), ("stepped", "organism")):
            assert asked(f"/organism/agents/{who}%20by%20{number}")["step"] == len(of[service]), (who, number)
        values = asked("/state/")["values"]
        assert all(values.get(key) == int(key.split("-")[1]) for key in of["state"]), number
        assert (seen := drift_of(number)) == len(of["ml"]), (number, seen, len(of["ml"]))
        # Each of its tasks is one cycle, whichever way it took.
        assert asked(f"/organism/agents/sent%20by%20{number}")["step"] == len(of["pipeline"]), number
