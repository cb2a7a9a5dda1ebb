"""The clock of a machine jumps by an hour while `cognitive run` is at work: nothing is lost, nothing comes twice."""


def share_no_clock(machine):
    """Containers have the clock of their host, and may not set it: there, a library stands between it and programs."""
    status, library = machine.execute("ls /usr/lib/*/faketime/libfaketime.so.1 2> /dev/null")
    if status == 0:
        machine.succeed(
            "install -d /etc/systemd/system.conf.d",
            # Only the time of day: no clock that timeouts are measured by ever jumps.
            "printf '[Manager]\\nDefaultEnvironment=FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_CACHE_DURATION=1 "
            "FAKETIME_TIMESTAMP_FILE=/etc/faketimerc\\n' > /etc/systemd/system.conf.d/clock.conf",
            "echo +0 > /etc/faketimerc",
            f"systemctl daemon-reexec; echo {library.strip()} > /etc/ld.so.preload",
        )


def jump(machine, hours):
    """Set the clock forward or back."""
    if machine.execute("test -e /etc/faketimerc")[0] == 0:
        machine.succeed(f"echo {hours:+d}h > /etc/faketimerc")
    else:
        machine.succeed(f"date --set='{hours:+d} hours'")


def now(machine):
    """Seconds since 1970, as a unit of the machine sees it."""
    return int(machine.succeed("systemd-run --quiet --pipe --wait date +%s"))


for machine in (head, worker, worker2):
    machine.start()
    share_no_clock(machine)
bring_up(head, worker, worker2)
prepare_runs(worker2)
pids = [property_of(machine, unit, "MainPID") for machine, unit in ((head, "ray-head"), (worker, "ray-worker"))]

for name, machine, hours in (("forward", worker, 1), ("back", head, -1)):
    with subtest(f"{machine.name} jumps {name}"):
        start_run(worker2, name)
        wait_for_progress(worker2, name)
        before = now(machine)
        jump(machine, hours)
        assert abs(now(machine) - before - 3600 * hours) < 60
        finish_run(worker2, name)
        compare_runs(worker2, name)
        wait_for_nodes(head, 3)

with subtest("no node noticed"):
    assert pids == [
        property_of(machine, unit, "MainPID") for machine, unit in ((head, "ray-head"), (worker, "ray-worker"))
    ]
