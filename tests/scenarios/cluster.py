"""What the scenarios share. Both drivers put this text before a scenario's own."""

import json
import shlex
import time  # noqa: F401 (scenarios use it)

HEAD = "10.42.0.1"
GCS = f"{HEAD}:6379"
SECRETS = "/var/lib/secrets"
TOKEN = f"{SECRETS}/ray-token"


def give_secret(machine, name, content):
    """Put a secret where the configuration of the machine looks for it, readable by the group."""
    machine.succeed(
        f"install -d -m 0755 {SECRETS}",
        f"install -m 0640 -g ray /dev/null {SECRETS}/{name}",
        f"printf %s {shlex.quote(content)} > {SECRETS}/{name}",
    )


def give_token(machine, token):
    """Give a machine the token of a cluster."""
    give_secret(machine, "ray-token", token)


def hand_out_token(head, *machines):
    """Do what an operator does: copy the token that the head has made to the other machines."""
    head.wait_for_unit("ray-token.service")
    token = head.succeed("cat /var/lib/ray/token").strip()
    for machine in machines:
        give_token(machine, token)


def bring_up(head, *workers):
    """Start a cluster and wait until every node of it is ready."""
    for machine in (head, *workers):
        machine.start()
    hand_out_token(head, *workers)
    head.wait_for_unit("ray-head.service", timeout=180)
    for machine in workers:
        machine.wait_for_unit("ray-worker.service", timeout=180)
    wait_for_nodes(head, 1 + len(workers))


def as_ray(command):
    """The command as the node's own user: a driver on the node itself, instead of one over Ray Client."""
    return f"cd /var/lib/ray && setpriv --reuid=ray --regid=ray --clear-groups -- env HOME=/var/lib/ray {command}"


def python(machine, code, timeout=120, environment=""):
    """Run Python on a node, as a driver of that node; what it prints."""
    driver = f"RAY_ADDRESS=auto RAY_LOG_TO_DRIVER=0 {environment} python3 -c {shlex.quote(code)}"
    return machine.succeed(as_ray(driver), timeout=timeout)


_ALIVE = "ray list nodes --filter state=ALIVE --format json"


def alive_nodes(head, environment=""):
    """Addresses of the nodes that the head believes to be alive."""
    # Over the dashboard: each driver over Ray Client would start a process of its own on the head.
    answer = head.succeed(f"{environment} {_ALIVE}", timeout=60)
    return sorted(node["node_ip"] for node in json.loads(answer))


# The shell of a machine was there before the switch, so it is told.
TLS = (
    f"RAY_USE_TLS=1 RAY_TLS_SERVER_CERT={SECRETS}/node.pem RAY_TLS_SERVER_KEY={SECRETS}/node.key "
    f"RAY_TLS_CA_CERT={SECRETS}/ca.pem"
)
_KEY = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"


def issue_certificates(authority, addresses, seconds=86400):
    """Give machines certificates that one of them signs, for the address of each, that last so long."""
    authority.succeed(
        f"test -e /root/ca.pem || openssl req -x509 {_KEY} -days 2 -keyout /root/ca.key -out /root/ca.pem -subj /CN=ray"
    )
    for machine, address in addresses.items():
        authority.succeed(
            f"cd /root && openssl req -x509 {_KEY} -keyout node.key -out node.pem -subj /CN={address} "
            f"-CA ca.pem -CAkey ca.key -not_after $(date --utc --date='+{seconds} seconds' +%Y%m%d%H%M%SZ) "
            f"-addext basicConstraints=critical,CA:false -addext extendedKeyUsage=serverAuth,clientAuth "
            f"-addext subjectAltName=IP:{address},IP:127.0.0.1,DNS:localhost"
        )
        for name in ("ca.pem", "node.pem", "node.key"):
            give_secret(machine, name, authority.succeed(f"cat /root/{name}"))


def switch(machine, specialisation=None):
    """Activate a specialisation of the machine, or its main configuration again."""
    system = "/run/booted-system" if specialisation is None else f"/run/booted-system/specialisation/{specialisation}"
    return machine.succeed(f"{system}/bin/switch-to-configuration test 2>&1", timeout=900)


def wait_for_nodes(head, count, timeout=120, environment=""):
    """Wait until exactly this many nodes are alive."""

    def enough(_last_attempt):
        # A head that is starting, or busy, says nothing yet.
        status, answer = head.execute(f"{environment} {_ALIVE}", timeout=60)
        return status == 0 and len(json.loads(answer)) == count

    retry(enough, timeout)


def property_of(machine, unit, name):
    """What systemd says of a unit, such as its MainPID, Result or NRestarts."""
    return machine.succeed(f"systemctl show --property={name} --value {unit}").strip()


def in_journal(unit, text):
    """A command that succeeds once the unit has said the text."""
    # Not grep -q: it would end before journalctl does, which then fails.
    look = f"grep --ignore-case --fixed-strings {shlex.quote(text)} > /dev/null"
    return f"journalctl --sync; journalctl --unit={unit} | {look}"


# --- cognitive run under faults: started on a machine, disturbed, and compared with a run of its own ---

RUNS = "/var/lib/ray/runs"
AGENTS, DAYS = 40, 1500
_STIMULI = f"""
import json, pathlib, random
from cognitive_actors.pipeline.examples import example_model
runs = pathlib.Path("{RUNS}")
runs.mkdir(exist_ok=True)
draw = random.Random(0).choice
with open(runs / "days.jsonl", "w") as file:
    for day in range({DAYS}):
        for agent in range({AGENTS}):
            seen = dict(weather=draw(["drizzle", "rain", "sun", "fog"]), wind=draw(["calm", "breezy", "windy"]))
            if day % 500 == 7 and agent == 3:
                seen["weather"] = "frogs"  # no outcome of the model: a reject
            record = dict(id=f"{{agent}}/{{day}}", agent=f"agent-{{agent}}", time=day, observation=seen)
            print(json.dumps(record), file=file)
# Far-sighted agents take their time: a run that faults can happen to.
text = example_model().read_text().replace("horizon: 2 ", "horizon: 12 ")
assert "horizon: 12 " in text
(runs / "model.yaml").write_text(text)
"""
_COMPARE = """
import json, sys
import pyarrow.parquet as pq
calm, tried = (pq.read_table(f"{sys.argv[i]}/results.parquet") for i in (1, 2))
one, two = (json.load(open(f"{sys.argv[i]}/summary.json")) for i in (1, 2))
assert two["records"] == one["records"] == two["results"] + two["rejects"], (one, two)
rejects = [open(f"{sys.argv[i]}/rejects.jsonl").read() for i in (1, 2)]
assert rejects[0] == rejects[1] and rejects[0], rejects
assert len(tried["id"].unique()) == len(tried), "an id came twice"
assert tried.equals(calm), [name for name in calm.schema.names if not calm[name].equals(tried[name])]
print(json.dumps({"results": two["results"], "rejects": two["rejects"], "seconds": two["seconds"],
                  "actor_losses": two["actor_losses"]}))
"""


def prepare_runs(machine, timeout=300):
    """Stimuli and a model on a machine, and what comes out of them when nothing is disturbed.

    The three actors of a run are spread: one on each machine of a cluster of three.
    """
    machine.succeed(as_ray(f"python3 -c {shlex.quote(_STIMULI)}"), timeout=60)
    start_run(machine, "calm")
    finish_run(machine, "calm", timeout)


def start_unit(machine, unit, command, environment="RAY_ADDRESS=auto"):
    """Begin a command that goes on by itself, as the node's own user."""
    machine.succeed(
        f"systemd-run --quiet --unit={unit} --uid=ray --gid=ray --property=WorkingDirectory=/var/lib/ray "
        f"--property=RemainAfterExit=yes --setenv=HOME=/var/lib/ray "
        # A unit has the surroundings of no login.
        f"bash -c {shlex.quote(f'. /etc/profile; export {environment}; exec {command}')}"
    )


def unit_state(machine, unit):
    """What systemd says of a command that goes on by itself: running, exited or failed."""
    return machine.execute(f"systemctl show --property=SubState --value {unit}")[1].strip()


def said_by(machine, unit):
    """What a unit has said."""
    return machine.succeed(f"journalctl --sync; journalctl --no-pager --output=cat --unit={unit}")


def still_running(machine, unit):
    """True; raises with what it said where it is over."""
    state = unit_state(machine, unit)
    assert state == "running", f"{unit} is {state}: {said_by(machine, unit)}"
    return True


def finish_unit(machine, unit, timeout=300):
    """Wait until a command has ended well; what it has said."""
    retry(lambda _last: unit_state(machine, unit) != "running", timeout)
    said = said_by(machine, unit)
    assert property_of(machine, unit, "Result") == "success", said
    machine.succeed(f"systemctl stop {unit}")
    return said


def start_run(machine, name, options="", environment="RAY_ADDRESS=auto"):
    """Begin a `cognitive run` that goes on by itself."""
    command = (
        f"cognitive run {RUNS}/days.jsonl --model {RUNS}/model.yaml --out {RUNS}/{name} "
        f"--on-error skip --commit-seconds 2 --shards 3 --json {options}"
    )
    start_unit(machine, f"run-{name}", command, environment)


def committed(machine, name):
    """Records that a run has committed."""
    status, text = machine.execute(f"cat {RUNS}/{name}/.run/progress.json 2> /dev/null")
    return json.loads(text)["progress"]["position"] if status == 0 and text else 0


def wait_for_progress(machine, name, further=1, timeout=180):
    """Wait until a run has committed more than it had, so that there is something to lose."""
    begin = committed(machine, name)
    retry(lambda _last: still_running(machine, f"run-{name}") and committed(machine, name) >= begin + further, timeout)


def finish_run(machine, name, timeout=300):
    """Wait until a run has ended well; what it says at its end."""
    return finish_unit(machine, f"run-{name}", timeout)


def compare_runs(machine, name):
    """A run that was disturbed came to what the undisturbed one did: nothing lost, nothing twice."""
    found = json.loads(
        machine.succeed(as_ray(f"python3 -c {shlex.quote(_COMPARE)} {RUNS}/calm {RUNS}/{name}"), timeout=120)
    )
    machine.log(f"{name}: {found}")
    return found
