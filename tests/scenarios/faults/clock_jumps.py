"""The clock of a machine jumps by an hour while `cognitive run` is at work: nothing is lost, nothing comes twice."""


def now(machine):
    """Seconds since 1970 on the machine."""
    return int(machine.succeed("date +%s"))


def jumping():
    """Each machine in turn, forward and back."""
    bring_up(head, worker, worker2)
    prepare_runs(worker2)
    units = ((head, "ray-head"), (worker, "ray-worker"))
    pids = [property_of(machine, unit, "MainPID") for machine, unit in units]
    for name, machine, hours in (("forward", worker, 1), ("back", head, -1)):
        with subtest(f"{machine.name} jumps {name}"):
            start_run(worker2, name)
            wait_for_progress(worker2, name)
            before = now(machine)
            machine.succeed(f"date --set='{hours:+d} hours'")
            assert abs(now(machine) - before - 3600 * hours) < 60
            finish_run(worker2, name)
            compare_runs(worker2, name)
            wait_for_nodes(head, 3)
    with subtest("no node noticed"):
        assert pids == [property_of(machine, unit, "MainPID") for machine, unit in units]


head.start()
if head.execute("date --set=@$(date +%s)")[0] == 0:
    jumping()
else:
    # Faked by a library, timed waits of Ray's C++ would wait for another clock than the one that they read.
    head.log("NOT TESTED: this machine may not set its clock, which is that of its host; a virtual machine may")
