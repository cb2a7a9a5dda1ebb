"""The driver itself, on plain machines without Ray: do containers behave as the machines that scenarios believe in?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from containers import cgroup, requirements, scenario, snapshot
from containers.errors import CommandFailed, MachineError, RequestedAssertionFailed, ScenarioTimeout
from containers.log import Log
from containers.machine import Machine, retry
from containers.sample_nodes import write_nodes
from containers.workspace import BASE, PREFIX, Workspace, sweep

IMPOSSIBLE = requirements.missing()
needs_containers = pytest.mark.skipif(bool(IMPOSSIBLE), reason="; ".join(IMPOSSIBLE) or "possible")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nodes(tmp_path_factory.mktemp("nodes"))


@pytest.fixture(scope="module")
def driver(nodes: Path) -> Iterator[scenario.Driver]:
    """Both machines, running."""
    with Workspace() as workspace:
        yield scenario.Driver(workspace, list(snapshot.load(nodes).values()), Log())


@pytest.fixture
def first(driver: scenario.Driver) -> Machine:
    """The machine with services."""
    driver.machines[0].wait_for_unit("multi-user.target", timeout=120)
    return driver.machines[0]


@pytest.fixture
def second(driver: scenario.Driver) -> Machine:
    """The machine that looks at the first."""
    driver.machines[1].wait_for_unit("multi-user.target", timeout=120)
    return driver.machines[1]


def reachable(machine: Machine, port: int) -> bool:
    """Whether a TCP port of the first machine accepts a connection from a machine."""
    return machine.execute(f"nc -z -w 2 10.9.0.1 {port}")[0] == 0


@needs_containers
def test_a_machine_is_what_its_snapshot_says(first: Machine) -> None:
    assert first.is_up()
    first.wait_until_succeeds("grep plain /run/echo/where", timeout=120)
    assert first.succeed("hostname; cat /run/echo/user /run/echo/where") == "first\nguest\nplain\n"
    assert first.succeed("systemctl is-system-running --wait").strip() == "running"
    assert first.succeed("echo $GREETING; stat -c %U /home/guest") == "hello\nguest\n"
    size = int(first.succeed("df --block-size=1 --output=size /dev/shm").split()[-1])
    assert size == 2 * 1024**3


@needs_containers
def test_the_python_of_the_driver_works_for_a_user_without_rights(first: Machine) -> None:
    version = first.succeed(
        "setpriv --reuid=guest --regid=guest --clear-groups python3 -c 'import sys, ssl, ctypes; print(sys.version)'"
    )
    assert version.strip() == sys.version
    packages = first.succeed(
        "setpriv --reuid=guest --regid=guest --clear-groups python3 -c 'import pytest; print(pytest.__file__)'"
    )
    assert packages.startswith("/nix/store/python-packages")


@needs_containers
def test_machines_reach_each_other_where_the_firewall_lets_them(first: Machine, second: Machine) -> None:
    second.wait_until_succeeds("ping -c 1 -W 2 10.9.0.1", timeout=120)
    for port in (8001, 8002):
        first.wait_for_open_port(port, timeout=120)
    assert reachable(second, 8001)
    assert not reachable(second, 8002)


@needs_containers
def test_cables_are_pulled_and_plugged_in(first: Machine, second: Machine) -> None:
    first.block()
    second.fail("ping -c 1 -W 1 10.9.0.1")
    assert first.succeed("echo still here") == "still here\n"
    first.unblock()
    second.wait_until_succeeds("ping -c 1 -W 1 10.9.0.1", timeout=120)


@needs_containers
def test_commands_fail_as_in_nixos(first: Machine) -> None:
    with pytest.raises(CommandFailed) as caught:
        first.succeed("echo some output; false | true")
    assert (caught.value.status, caught.value.output) == (1, "some output\n")
    with pytest.raises(CommandFailed):
        first.succeed("echo $THERE_IS_NO_SUCH_VARIABLE")
    with pytest.raises(CommandFailed, match="unexpectedly succeeded"):
        first.fail("true")
    assert first.execute("exit 7") == (7, "")
    with pytest.raises(RequestedAssertionFailed, match="inactive"):
        first.wait_for_unit("there-is-none.service", timeout=5)
    with pytest.raises(CommandFailed, match=r"within 0\.5 seconds"):
        first.wait_until_succeeds("false", timeout=0.5)


@needs_containers
@pytest.mark.parametrize("process", ["self", "1"])
def test_nobody_in_a_machine_can_set_the_clock_of_this_one(first: Machine, process: str) -> None:
    effective = int(first.succeed(f"awk '/^CapEff/ {{ print $2 }}' /proc/{process}/status"), 16)
    assert effective and not effective & 1 << 25  # CAP_SYS_TIME


@needs_containers
def test_a_command_that_takes_too_long_is_ended_with_its_descendants(first: Machine) -> None:
    begin = time.monotonic()
    status, output = first.execute("echo begun; (setsid sleep 987 & sleep 987); echo done", timeout=20)
    assert (status, output) == (124, "begun\n")
    assert time.monotonic() - begin < 90
    first.fail("pgrep --full '[s]leep 987'")


@needs_containers
def test_what_a_command_leaves_behind_on_purpose_goes_on(first: Machine) -> None:
    first.succeed("sleep 654 >&2 &")
    first.succeed("pgrep --full '[s]leep 654' | xargs kill")


@needs_containers
def test_files_are_copied(first: Machine, tmp_path: Path) -> None:
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/file").write_text("content\n")
    (tmp_path / "tree/below/file").chmod(0o750)
    first.copy_from_host(str(tmp_path / "tree"), "/var/lib/copied/tree")
    first.copy_from_host(str(tmp_path / "tree/below/file"), "/var/lib/single")
    assert first.succeed("cat /var/lib/copied/tree/below/file /var/lib/single") == "content\ncontent\n"
    assert first.succeed("stat -c '%a %U' /var/lib/copied/tree/below/file").strip() == "750 root"


@needs_containers
def test_a_switch_restarts_what_changed_and_nothing_else(first: Machine, second: Machine) -> None:
    def processes() -> dict[str, str]:
        names = ("echo", "frozen", "steady", "listen-8001")
        return {name: first.get_unit_property(f"{name}.service", "MainPID") for name in names}

    before = processes()
    said = first.succeed("/run/current-system/specialisation/other/bin/switch-to-configuration test")
    assert "stopping the following units: echo.service, old.service" in said
    assert "NOT restarting the following changed units: frozen.service" in said
    assert "starting the following units: echo.service" in said
    assert "the following new units were started: new.service" in said
    after = processes()
    assert [name for name in before if before[name] != after[name]] == ["echo"]
    first.wait_until_succeeds("grep other /run/echo/where", timeout=120)
    assert first.get_unit_property("old.service", "ActiveState") == "inactive"
    assert first.get_unit_property("new.service", "ActiveState") == "active"
    assert reachable(second, 8002)

    first.succeed("/run/current-system/bin/switch-to-configuration test")
    assert processes()["frozen"] == before["frozen"]
    assert first.get_unit_property("new.service", "ActiveState") == "inactive"
    assert not reachable(second, 8002)
    assert not switch_again(first)


def switch_again(machine: Machine) -> list[str]:
    """What a switch to the running configuration does to units."""
    said = machine.succeed("/run/current-system/bin/switch-to-configuration test")
    return [line for line in said.splitlines() if "units" in line]


@needs_containers
def test_files_survive_a_crash_and_a_switch_does_not(first: Machine, second: Machine) -> None:
    first.succeed("echo kept > /var/lib/note; echo lost > /run/note")
    first.succeed("/run/current-system/specialisation/other/bin/switch-to-configuration test")
    boot = first.succeed("cat /proc/sys/kernel/random/boot_id; date +%s.%N")
    first.crash()
    assert not first.is_up()
    second.fail("ping -c 1 -W 1 10.9.0.1")
    first.start()
    assert first.succeed("cat /var/lib/note; test ! -e /run/note") == "kept\n"
    first.wait_for_unit("echo.service", timeout=120)
    first.wait_until_succeeds("grep plain /run/echo/where", timeout=120)
    assert int(first.succeed("journalctl --list-boots --quiet | wc -l")) == 2, boot
    second.wait_until_succeeds("ping -c 1 -W 1 10.9.0.1", timeout=120)


@needs_containers
def test_a_machine_reboots_and_shuts_down(second: Machine) -> None:
    second.succeed("touch /run/before")
    second.reboot()
    second.succeed("test ! -e /run/before")
    second.succeed("systemctl reboot --no-block")
    second.wait_for_shutdown()
    second.wait_for_unit("steady.service", timeout=120)
    second.shutdown()
    assert not second.container.running
    second.start()
    second.wait_for_unit("steady.service", timeout=120)


@needs_containers
def test_a_machine_that_ends_by_itself_is_reported(second: Machine) -> None:
    second.execute("systemctl poweroff --no-block")
    second.container.wait(120)
    with pytest.raises(MachineError, match="second has ended by itself"):
        second.succeed("true")
    second.start()
    second.succeed("true")


@needs_containers
def test_a_scenario_sees_its_machines_and_fails_where_it_is_wrong(
    nodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster.py").write_text("def greeting(machine):\n    return machine.succeed('echo $GREETING')\n")
    script = tmp_path / "wrong.py"
    script.write_text(
        "with subtest('greets'):\n    assert greeting(second) == 'hello\\n'\n\nassert len(machines) == 2\n"
    )
    with pytest.raises(AssertionError) as caught:
        scenario.run(script, nodes=nodes)
    assert (caught.traceback[-1].path, caught.traceback[-1].lineno) == (script, 3)
    said = capsys.readouterr().out
    assert "scenario wrong on second" in said and "second: --- what it says:" in said


@needs_containers
def test_a_scenario_ends_in_time(nodes: Path, tmp_path: Path) -> None:
    script = tmp_path / "long.py"
    script.write_text("second.succeed('true')\ntry:\n    second.succeed('sleep 600')\nexcept Exception:\n    pass\n")
    begin = time.monotonic()
    with pytest.raises(ScenarioTimeout, match="after 20 seconds"):
        scenario.run(script, nodes=nodes, limit=20)
    assert time.monotonic() - begin < 120


RUN = """
import signal, sys
from pathlib import Path
from containers import scenario

# Whoever started the tests may have it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
scenario.run(Path(sys.argv[1]), nodes=Path(sys.argv[2]))
"""


@needs_containers
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_run_that_was_ended(nodes: Path, tmp_path: Path, how: signal.Signals) -> None:
    script = tmp_path / "endless.py"
    script.write_text("second.succeed('true')\nprint('BOOTED', flush=True)\nsecond.succeed('sleep 600')\n")
    root = cgroup.root()
    assert root is not None
    others = set(BASE.glob(f"{PREFIX}*"))
    environment = {**os.environ, "PYTHONPATH": str(scenario.TESTS)}
    with subprocess.Popen(
        [sys.executable, "-c", RUN, str(script), str(nodes)], stdout=subprocess.PIPE, text=True, env=environment
    ) as run:
        assert run.stdout is not None
        while "BOOTED" not in (line := run.stdout.readline()):
            assert line, "the run ended before the machine had booted"
        (directory,) = set(BASE.glob(f"{PREFIX}*")) - others
        group = root / directory.name
        assert len(cgroup.processes(group)) > 5
        holders = namespaces_beside_ours(cgroup.processes(group))
        assert holders
        run.send_signal(how)
        run.wait(120)
    if how == signal.SIGKILL:
        # The kernel ends the processes with their driver; the files wait for the next run.
        retry(lambda _last: not cgroup.processes(group), 120)
        assert directory in sweep()
    assert not directory.exists()
    assert not group.exists()
    assert str(directory) not in Path("/proc/self/mounts").read_text()
    retry(lambda _last: not holders & namespaces_beside_ours(all_processes()), 120)


def all_processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def namespaces_beside_ours(processes: list[int]) -> set[str]:
    """The mount and network namespaces of processes that are not ours."""
    found: set[str] = set()
    for process in processes:
        for kind in ("mnt", "net"):
            try:
                found.add(os.readlink(f"/proc/{process}/ns/{kind}"))
            except OSError:
                continue
    return found - {os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net")}
