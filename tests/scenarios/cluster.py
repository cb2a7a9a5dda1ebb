"""What the scenarios share. Both drivers put this text before a scenario's own."""

import json
import shlex

HEAD = "10.42.0.1"
GCS = f"{HEAD}:6379"
TOKEN = "/var/lib/secrets/ray-token"


def give_token(machine, token):
    """Put a token where the configuration of the machine looks for it, readable by the group."""
    machine.succeed(
        f"install -d -m 0755 {TOKEN.rpartition('/')[0]}",
        f"install -m 0640 -g ray /dev/null {TOKEN}",
        f"printf %s {shlex.quote(token)} > {TOKEN}",
    )


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


def alive_nodes(head, environment=""):
    """Addresses of the nodes that the head believes to be alive."""
    # Over the dashboard: each driver over Ray Client would start a process of its own on the head.
    answer = head.succeed(f"{environment} ray list nodes --filter state=ALIVE --format json", timeout=60)
    return sorted(node["node_ip"] for node in json.loads(answer))


def switch(machine, specialisation=None):
    """Activate a specialisation of the machine, or its main configuration again."""
    system = "/run/booted-system" if specialisation is None else f"/run/booted-system/specialisation/{specialisation}"
    return machine.succeed(f"{system}/bin/switch-to-configuration test 2>&1", timeout=180)


def wait_for_nodes(head, count, timeout=120, environment=""):
    """Wait until exactly this many nodes are alive."""

    def enough(_last_attempt):
        return len(alive_nodes(head, environment)) == count

    retry(enough, timeout)


def property_of(machine, unit, name):
    """What systemd says of a unit, such as its MainPID, Result or NRestarts."""
    return machine.succeed(f"systemctl show --property={name} --value {unit}").strip()


def in_journal(unit, text):
    """A command that succeeds once the unit has said the text."""
    # Not grep -q: it would end before journalctl does, which then fails.
    return f"journalctl --unit={unit} | grep --ignore-case --fixed-strings {shlex.quote(text)} > /dev/null"
