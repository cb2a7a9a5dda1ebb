"""All services by one line, and ray-bootstrap: what must live beside them is there, once, and again with a new head."""

bring_up(head, worker)
SERVICES = ("cognitive", "organism", "pipeline", "state", "ml", "energy")
DISPATCHERS = ["cognitive-dispatcher-0", "cognitive-dispatcher-1"]


def reported():
    """What the bootstrap has said last: what became of each actor."""
    lines = [line for line in said_by(head, "ray-bootstrap").splitlines() if line.startswith("{")]
    return {each["name"]: each["action"] for each in json.loads(lines[-1])["reconciled"]}


def living():
    """The named actors that live, and which ones they are."""
    said = head.succeed("ray list actors --filter state=ALIVE --limit 1000 --format json", timeout=60)
    return {actor["name"]: actor["actor_id"] for actor in json.loads(said) if actor["name"]}


def wait_for_another_start(before):
    """Wait until the unit has been started by itself, and is up again."""

    def again(_last):
        other = property_of(head, "ray-bootstrap", "InvocationID") not in ("", before)
        return other and property_of(head, "ray-bootstrap", "ActiveState") == "active"

    retry(again, 300)


with subtest("up means that everything is there"):
    switch(head, "services")
    head.wait_for_unit("ray-serve.service", timeout=60)
    head.wait_for_unit("ray-bootstrap.service", timeout=60)
    found = reported()
    # Services begin some of them themselves.
    assert set(DISPATCHERS) <= set(found) and set(found.values()) <= {"kept", "started"}, found
    assert set(found) <= set(living()), found
    assert head.succeed("stat -c '%a %U %G' /var/lib/ray-tasks").strip() == "750 ray ray"
    assert head.succeed("stat -c '%U' /var/lib/ray-tasks/tasks.db").strip() == "ray"

with subtest("each service answers its probes through Serve, without a token"):
    for name in SERVICES:
        for probe in ("health", "ready"):
            head.wait_until_succeeds(
                f"curl --silent --fail --max-time 5 http://127.0.0.1:8000/{name}/{probe}", timeout=60
            )

with subtest("a second time keeps everything"):
    before = living()
    head.succeed("systemctl restart ray-bootstrap", timeout=180)
    assert set(reported().values()) == {"kept"}, reported()
    after = living()
    assert all(after.get(name) == before[name] for name in reported()), (before, after)

with subtest("a dispatcher that is gone is made again, and nothing else"):
    python(
        head,
        f"""
import ray
ray.init(logging_level="ERROR", namespace="cognitive")
ray.kill(ray.get_actor({DISPATCHERS[0]!r}))
""",
    )
    head.succeed("systemctl restart ray-bootstrap", timeout=180)
    changed = {name: action for name, action in reported().items() if action != "kept"}
    assert changed == {DISPATCHERS[0]: "started"}, reported()

with subtest("a head that starts anew is bootstrapped again, asked to or not"):
    for way in ("systemctl restart ray-head", "systemctl kill --signal=KILL ray-head"):
        before = property_of(head, "ray-bootstrap", "InvocationID")
        # Under load its first start may take longer than Ray waits. There is another.
        head.execute(way, timeout=180)
        wait_for_another_start(before)
        assert set(DISPATCHERS) <= set(living()), living()

with subtest("no token in its arguments, and no more rights than the head has"):
    head.fail('systemctl show --property=ExecStart ray-bootstrap | grep -F "$(cat /var/lib/ray/token)"')
    exposure = head.succeed("systemd-analyze security --no-pager ray-bootstrap | tail -1")
    assert float(exposure.split("level for ray-bootstrap.service:")[1].split()[0]) <= 1.5, exposure

with subtest("where the tasks are not, it has failed and says where they are, and is not tried again"):
    head.execute("/run/booted-system/specialisation/services-moved/bin/switch-to-configuration test 2>&1", timeout=300)
    retry(lambda _last: property_of(head, "ray-bootstrap", "ActiveState") == "failed", 180)
    said = "keeps its tasks in /var/lib/ray-tasks/tasks.db, not in /srv/tasks/tasks.db"
    head.succeed(in_journal("ray-bootstrap", said))
    assert property_of(head, "ray-bootstrap", "NRestarts") == "0"

with subtest("where they are, it is up again with a head that was stopped and started"):
    head.execute("/run/booted-system/specialisation/services/bin/switch-to-configuration test 2>&1", timeout=300)
    head.wait_for_unit("ray-bootstrap.service", timeout=300)
