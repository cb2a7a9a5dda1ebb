"""Token and certificates are replaced while `cognitive run` is at work: nothing is lost, nothing comes twice."""

MACHINES = {head: "10.42.0.1", worker: "10.42.0.2", worker2: "10.42.0.3"}
UNITS = {head: "ray-head", worker: "ray-worker", worker2: "ray-worker"}


def restart_all():
    """What a rollout does: machine after machine, the head first."""
    for machine, unit in UNITS.items():
        machine.succeed(f"systemctl restart --no-block {unit}")
    for machine, unit in UNITS.items():
        machine.wait_for_unit(f"{unit}.service", timeout=180)


bring_up(head, worker, worker2)
prepare_runs(worker2)

with subtest("the token is replaced"):
    start_run(worker2, "token")
    wait_for_progress(worker2, "token")
    new = "f" * 64
    head.succeed(f"printf %s {new} > /var/lib/ray/token")
    for machine in (worker, worker2):
        give_token(machine, new)
    restart_all()
    finish_run(worker2, "token")
    compare_runs(worker2, "token")
    wait_for_nodes(head, 3)
    head.fail("RAY_AUTH_TOKEN=old ray list nodes", timeout=60)

with subtest("certificates of two minutes"):
    issue_certificates(head, MACHINES, seconds=120)
    issued = time.monotonic()
    for machine in (worker, worker2):
        machine.succeed("systemctl stop ray-worker", timeout=90)
    for machine in MACHINES:
        switch(machine, "tls")
    for machine in (worker, worker2):
        machine.succeed("systemctl start ray-worker", timeout=120)
    for machine, unit in UNITS.items():
        machine.wait_for_unit(f"{unit}.service", timeout=180)

with subtest("they expire: what runs goes on, and the journal says what is wrong"):
    before = [property_of(machine, unit, "MainPID") for machine, unit in UNITS.items()]
    start_run(worker2, "expiry")
    wait_for_progress(worker2, "expiry")
    assert time.monotonic() - issued < 115, "the certificates were too old before the run had begun"
    # Slowly, so that most of its work is left when they expire; not at a stand, which would cost it its connections.
    while time.monotonic() - issued < 125:
        worker2.succeed("systemctl kill --signal=STOP run-expiry; sleep 4; systemctl kill --signal=CONT run-expiry")
    for machine, unit in UNITS.items():
        machine.wait_until_succeeds(in_journal(unit, "the certificate of this node has expired"), timeout=60)
    finish_run(worker2, "expiry")
    compare_runs(worker2, "expiry")
    assert [property_of(machine, unit, "MainPID") for machine, unit in UNITS.items()] == before

with subtest("new ones are read by the next start"):
    worker.succeed("systemctl restart --no-block ray-worker")
    worker.wait_until_succeeds(in_journal("ray-worker", "which is read at each start"), timeout=120)
    issue_certificates(head, MACHINES)
    for machine in (head, worker2):
        machine.succeed(f"systemctl restart --no-block {UNITS[machine]}")
    # The worker tries by itself until it may come in.
    for machine, unit in UNITS.items():
        machine.wait_for_unit(f"{unit}.service", timeout=180)
    wait_for_nodes(head, 3, environment=TLS)

with subtest("they are replaced while a run is at work"):
    start_run(worker2, "renewal")
    wait_for_progress(worker2, "renewal")
    issue_certificates(head, MACHINES)
    restart_all()
    finish_run(worker2, "renewal")
    compare_runs(worker2, "renewal")
