"""Who has no token, or is not on the cluster's network, does not come in."""

for machine in (head, worker, client, outsider):
    machine.start()
hand_out_token(head, client, worker)
head.wait_for_unit("ray-head.service", timeout=180)
worker.wait_for_unit("ray-worker.service", timeout=180)

client.succeed("printf %064d 0 > /root/wrong-token")
NO_TOKEN = "env -u RAY_AUTH_TOKEN_PATH"
WRONG_TOKEN = "env RAY_AUTH_TOKEN_PATH=/root/wrong-token"
RIGHT_TOKEN = "env"

CONNECT = shlex.quote("import ray; ray.init('ray://10.42.0.1:10001'); print(ray.cluster_resources())")


def status_code(machine, url, token=None, arguments=""):
    header = f"-H 'Authorization: Bearer {token}'" if token else ""
    return machine.succeed(
        f"curl -s -m 10 --noproxy '*' -o /dev/null -w '%{{http_code}}' {header} {arguments} {url}"
    ).strip()


with subtest("GCS"):
    client.succeed(f"{RIGHT_TOKEN} ray health-check --address {GCS}", timeout=60)
    client.fail(f"{WRONG_TOKEN} ray health-check --address {GCS}", timeout=60)
    client.fail(f"{NO_TOKEN} ray health-check --address {GCS}", timeout=60)

with subtest("Ray Client"):
    client.succeed(f"{RIGHT_TOKEN} python3 -c {CONNECT}", timeout=60)
    # A refused client gives up after half a minute; both at once.
    client.succeed(
        f"{WRONG_TOKEN} python3 -c {CONNECT} & wrong=$!; {NO_TOKEN} python3 -c {CONNECT} & none=$!; "
        "! wait $wrong && ! wait $none",
        timeout=90,
    )

with subtest("dashboard and jobs"):
    token = head.succeed("cat /var/lib/ray/token").strip()
    job = """-X POST -H 'Content-Type: application/json' -d '{"entrypoint": "touch /var/lib/ray/broken-in"}'"""
    for door, arguments in (
        ("nodes?view=summary", ""),
        ("api/jobs/", ""),
        ("api/jobs/", job),
        ("api/version", ""),
    ):
        url = f"'http://{HEAD}:8265/{door}'"
        assert status_code(client, url, None, arguments) == "401", door
        assert status_code(client, url, "0" * 64, arguments) == "403", door
        if not arguments:
            assert status_code(client, url, token) == "200", door
    client.fail(f"{WRONG_TOKEN} ray job submit -- true", timeout=60)

with subtest("the agents on the machine itself"):
    # They listen on loopback too: whoever is logged in there is no member of the group yet.
    agent = f"http://{HEAD}:52365/api/job_agent/jobs/"
    job = """-X POST -H 'Content-Type: application/json' -d '{"entrypoint": "touch /var/lib/ray/broken-in"}'"""
    assert status_code(head, agent, None, job) == "401"
    assert status_code(head, agent, "0" * 64, job) == "403"
    head.fail("test -e /var/lib/ray/broken-in")

with subtest("a worker with no token, a wrong one, and the right one"):
    # 243: systemd found no credential to hand on.
    worker2.wait_until_succeeds(
        "systemctl show --property=ExecMainStatus --value ray-worker | grep -qx 243", timeout=60
    )
    give_token(worker2, "0" * 64)
    # `ray start` gives up on the head after some 20 s, with the reason; the unit has not been ready.
    worker2.wait_until_succeeds(in_journal("ray-worker", "authentication"), timeout=120)
    worker2.wait_until_succeeds(in_journal("ray-worker", "ray start ended by itself"), timeout=120)
    worker2.fail("systemctl is-active ray-worker")
    assert "10.42.0.3" not in alive_nodes(head)
    hand_out_token(head, worker2)
    worker2.wait_for_unit("ray-worker.service", timeout=180)
    wait_for_nodes(head, 3)

with subtest("nothing listens but what is declared"):
    DECLARED = {6380, 6381, 52365, 52366, 52367, 52368, *range(10002, 10200)}
    OF_THE_HEAD = {6379, 10001, 8265, 44217, 44227}
    for machine, declared in ((head, DECLARED | OF_THE_HEAD), (worker, DECLARED)):
        listening = machine.succeed("ss --no-header --listening --tcp --numeric | awk '{print $4}'").split()
        strangers = {
            address
            for address in listening
            if int(address.rpartition(":")[2]) not in declared
            and not address.startswith(("127.", "[::1]", "[::ffff:127."))
        }
        assert not strangers, f"{machine.name} listens on {strangers}"

with subtest("from outside nothing answers, from the cluster only what is open"):

    def answering(machine, address):
        """Ports of the address that accept a connection from the machine."""
        listening = (head if address.endswith(".1") else worker).succeed(
            "ss --no-header --listening --tcp --numeric | awk '{print $4}'"
        )
        ports = sorted({int(line.rpartition(":")[2]) for line in listening.split()})
        tries = " ".join(
            f"(timeout 3 bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo {port}) &" for port in ports
        )
        return {int(port) for port in machine.succeed(f"{tries} wait; true", timeout=60).split()}

    outsider.wait_until_succeeds("ping -c 1 192.168.42.1")
    assert answering(outsider, "192.168.42.1") == set()
    assert answering(outsider, "192.168.42.2") == set()
    # An address of the cluster's network is the same machine: asking for it from outside must not help.
    outsider.succeed("ip route add 10.42.0.0/24 via 192.168.42.1")
    assert answering(outsider, "10.42.0.1") == set()
    # From within: the cluster's ports, but not the agents' and not the metrics.
    open_here = answering(client, "10.42.0.1")
    assert {6379, 10001, 8265, 6380, 6381} <= open_here, open_here
    assert not open_here & {52365, 52367, 52368, 44217, 44227}, open_here
