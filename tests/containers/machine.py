"""A machine as scenarios see it: the NixOS test driver's Machine API, for a container.

Names, signatures and meaning are those of NixOS (nixos/lib/test-driver), so that one scenario runs on both.
"""

from __future__ import annotations

import io
import shlex
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from .container import Container
from .errors import CommandFailed, MachineError, RequestedAssertionFailed
from .log import Log

_BOOTED = {"starting", "running", "degraded"}
_BOOT_TIMEOUT = 180
_SHUTDOWN_TIMEOUT = 120
_LONGEST_PAUSE = 1.0


def retry(fn: Callable[[bool], bool], timeout: float = 900) -> None:
    """Call a function until it returns True. It is told whether this is its last attempt.

    Raises RequestedAssertionFailed when the time is over.
    """
    deadline = time.monotonic() + timeout
    pause = 0.1
    while time.monotonic() < deadline:
        if fn(False):
            return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    if not fn(True):
        raise RequestedAssertionFailed(f"action timed out after {timeout} seconds")


class Machine:
    """A machine of a scenario. It boots when something is first asked of it."""

    def __init__(self, container: Container, log: Log) -> None:
        self.container = container
        self.name = container.node.name
        self.booted = False
        self.connected = False
        self._log = log

    def __repr__(self) -> str:
        return f"<Machine '{self.name}'>"

    # --- power ---

    def is_up(self) -> bool:
        """Whether the machine has booted."""
        return self.booted and self.connected

    def start(self, allow_reboot: bool = False) -> None:
        """Start the machine; does not wait until it has booted."""
        if not self.booted:
            self.log("starting")
            self.container.start()
            self.booted = True

    def connect(self) -> None:
        """Start the machine if it is down, and wait until it has booted so far that services start."""
        if self.container.wants_reboot:
            self.booted = self.connected = False
        if self.connected and self.container.running:
            return
        self.start()
        if self.connected or not self.container.running:
            self.booted = self.connected = False
            raise MachineError(f"{self.name} has ended by itself; its console:\n{self.container.console_end()}")
        begin = time.monotonic()
        while (state := self._state()) not in _BOOTED:
            if not self.container.running or time.monotonic() - begin > _BOOT_TIMEOUT:
                raise MachineError(
                    f"{self.name} does not boot (systemctl is-system-running: {state or 'no answer'}); "
                    f"its console:\n{self.container.console_end()}"
                )
            time.sleep(0.05)
        self.log(f"booted after {time.monotonic() - begin:.1f} s")
        self.connected = True

    def _state(self) -> str:
        if not self.container.running:
            return ""
        return self.container.run("systemctl is-system-running", timeout=10).output.decode().strip()

    def shutdown(self) -> None:
        """Shut the machine down, and wait until it is."""
        if self.booted:
            self._leave("systemctl poweroff --no-block")

    def reboot(self) -> None:
        """Shut the machine down and start it again; does not wait until it has booted."""
        self._leave("systemctl reboot --no-block")
        self.start()

    def _leave(self, command: str) -> None:
        self.connect()
        with self.nested(command):
            self.container.run(command, timeout=_SHUTDOWN_TIMEOUT)
            self.wait_for_shutdown()

    def wait_for_shutdown(self) -> None:
        """Wait until the machine is off. Raises MachineError when that takes too long."""
        try:
            self.container.wait(_SHUTDOWN_TIMEOUT)
        except subprocess.TimeoutExpired:
            console = self.container.console_end()
            raise MachineError(f"{self.name} is not off after {_SHUTDOWN_TIMEOUT} s; its console:\n{console}") from None
        self.booted = self.connected = False

    def crash(self) -> None:
        """Pull the plug: everything stops at once, and nobody on the network hears of it."""
        if self.booted:
            self.log("forced crash")
            self.container.kill()
            self.booted = self.connected = False

    def block(self) -> None:
        """Unplug all network cables."""
        self.log("unplugging the network")
        self.container.plug(connected=False)

    def unblock(self) -> None:
        """Undo block."""
        self.log("plugging in the network")
        self.container.plug(connected=True)

    # --- commands ---

    def execute(
        self, command: str, check_return: bool = True, check_output: bool = True, timeout: float | None = 900
    ) -> tuple[int, str]:
        """Run a command as root by Bash with `set -euo pipefail`: (status, standard output).

        Waits until standard output is closed. Standard error goes to the log. After timeout seconds the command is
        ended with all that it has started, and the status is 124.
        """
        self.connect()
        finished = self.container.run(f"set -euo pipefail; {command}", timeout)
        if finished.errors.strip():
            self.log(f"(stderr) {finished.errors.strip()}")
        output = finished.output.decode(errors="replace")
        if not check_output:
            return -2, ""
        return (finished.status if check_return else -1), output

    def succeed(self, *commands: str, timeout: float | None = None) -> str:
        """Run commands that must succeed; their output. Raises CommandFailed."""
        output = ""
        for command in commands:
            with self.nested(f"must succeed: {command}"):
                status, said = self.execute(command, timeout=timeout)
                if status != 0:
                    raise CommandFailed(f"command `{command}` failed (exit code {status})", command, status, said)
                output += said
        return output

    def fail(self, *commands: str, timeout: float | None = None) -> str:
        """Run commands that must fail; their output. Raises CommandFailed when one succeeds."""
        output = ""
        for command in commands:
            with self.nested(f"must fail: {command}"):
                status, said = self.execute(command, timeout=timeout)
                if status == 0:
                    raise CommandFailed(f"command `{command}` unexpectedly succeeded", command, status, said)
                output += said
        return output

    def wait_until_succeeds(self, command: str, timeout: float = 900) -> str:
        """Repeat a command until it succeeds; its output."""
        return self._repeat("success", command, lambda status: status == 0, timeout)

    def wait_until_fails(self, command: str, timeout: float = 900) -> str:
        """Repeat a command until it fails; its output."""
        return self._repeat("failure", command, lambda status: status != 0, timeout)

    def _repeat(self, what: str, command: str, good: Callable[[int], bool], timeout: float) -> str:
        status, output = 0, ""

        def check(_last: bool) -> bool:
            nonlocal status, output
            status, output = self.execute(command, timeout=timeout)
            return good(status)

        with self.nested(f"waiting for {what}: {command}"):
            try:
                retry(check, timeout)
            except RequestedAssertionFailed:
                said = f"no {what} of `{command}` within {timeout} seconds (exit code {status} at last)"
                raise CommandFailed(said, command, status, output) from None
        return output

    def sleep(self, secs: float) -> None:
        """Let time pass on the machine."""
        self.succeed(f"sleep {secs}")

    # --- units ---

    def systemctl(self, q: str, user: str | None = None) -> tuple[int, str]:
        """Run systemctl, for a user's own systemd if one is named."""
        if user is None:
            return self.execute(f"systemctl {q}")
        inner = f"XDG_RUNTIME_DIR=/run/user/$(id -u) systemctl --user {q}"
        return self.execute(f"su -l {shlex.quote(user)} --shell /bin/sh -c {shlex.quote(inner)}")

    def get_unit_info(self, unit: str, user: str | None = None) -> dict[str, str]:
        """All properties of a unit."""
        return self._show(shlex.quote(unit), unit, user)

    def get_unit_property(self, unit: str, property: str, user: str | None = None) -> str:
        """One property of a unit."""
        shown = self._show(f"{shlex.quote(unit)} --property={shlex.quote(property)}", unit, user)
        if property not in shown:
            raise RequestedAssertionFailed(f"{self.name}: unit {unit} has no property {property}")
        return shown[property]

    def _show(self, arguments: str, unit: str, user: str | None) -> dict[str, str]:
        status, lines = self.systemctl(f"--no-pager show {arguments}", user)
        if status != 0:
            raise RequestedAssertionFailed(f"{self.name}: systemctl show {unit} failed (exit code {status})")
        return {key: value for key, mark, value in (line.partition("=") for line in lines.splitlines()) if mark}

    def wait_for_unit(self, unit: str, user: str | None = None, timeout: float = 900) -> None:
        """Wait until a unit is active. Raises when it has failed, or is inactive with nothing about to start it."""

        def check(last: bool) -> bool:
            state = self.get_unit_property(unit, "ActiveState", user)
            if state == "failed":
                raise RequestedAssertionFailed(f'{self.name}: unit "{unit}" reached state "failed"')
            if state == "inactive" and "No jobs" in self.systemctl("list-jobs --full 2>&1", user)[1]:
                # It may have become active between the two questions.
                state = self.get_unit_property(unit, "ActiveState", user)
                if state == "inactive":
                    raise RequestedAssertionFailed(f'{self.name}: unit "{unit}" is inactive and no job will start it')
            if last and state != "active":
                raise RequestedAssertionFailed(f'{self.name}: unit "{unit}" is {state} after {timeout} seconds')
            return state == "active"

        with self.nested(f"waiting for unit {unit}"):
            retry(check, timeout)

    def require_unit_state(self, unit: str, require_state: str = "active") -> None:
        """Raise unless a unit is in a state."""
        with self.nested(f"checking that unit {unit} is {require_state}"):
            state = self.get_unit_property(unit, "ActiveState")
            if state != require_state:
                raise RequestedAssertionFailed(f'{self.name}: unit "{unit}" is {state} and not {require_state}')

    def start_job(self, jobname: str, user: str | None = None) -> tuple[int, str]:
        """Start a unit."""
        return self.systemctl(f"start {jobname}", user)

    def stop_job(self, jobname: str, user: str | None = None) -> tuple[int, str]:
        """Stop a unit."""
        return self.systemctl(f"stop {jobname}", user)

    def wait_for_job(self, jobname: str) -> None:
        """Wait until a unit is active."""
        self.wait_for_unit(jobname)

    # --- ports and files ---

    def wait_for_open_port(self, port: int, addr: str = "localhost", timeout: float = 900) -> None:
        """Wait until something listens on a TCP port."""
        self._wait(f"TCP port {port} on {addr}", f"nc -z -w 2 {addr} {port}", 0, timeout)

    def wait_for_closed_port(self, port: int, addr: str = "localhost", timeout: float = 900) -> None:
        """Wait until nothing listens on a TCP port."""
        self._wait(f"TCP port {port} on {addr} to be closed", f"! nc -z -w 2 {addr} {port}", 0, timeout)

    def wait_for_file(self, filename: str, timeout: float = 900) -> None:
        """Wait until a file exists."""
        self._wait(f"file {filename!r}", f"test -e {filename}", 0, timeout)

    def _wait(self, what: str, command: str, wanted: int, timeout: float) -> None:
        def check(last: bool) -> bool:
            status, _ = self.execute(command, timeout=timeout)
            if last and status != wanted:
                raise RequestedAssertionFailed(f"{self.name}: waited {timeout} seconds for {what}")
            return status == wanted

        with self.nested(f"waiting for {what}"):
            retry(check, timeout)

    def copy_from_host(self, source: str, target: str) -> None:
        """Copy a file or a tree into the machine; it belongs to root there, with the same access rights."""
        path, packed = Path(source), io.BytesIO()

        def of_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = "root"
            return member

        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(path, arcname=path.name, filter=of_root)
        self.connect()
        quoted = shlex.quote(target)
        script = (
            "set -euo pipefail; place=$(mktemp -d); trap 'rm -rf $place' EXIT; "
            f'tar --extract --preserve-permissions --directory "$place"; '
            f'mkdir -p "$(dirname {quoted})"; cp -r --preserve=mode "$place"/{shlex.quote(path.name)} {quoted}'
        )
        with self.nested(f"copying {source} to {target}"):
            finished = self.container.run(script, 300, packed.getvalue())
            if finished.status:
                raise MachineError(f"{self.name}: {source} could not be copied to {target}:\n{finished.errors}")

    # --- log ---

    def log(self, msg: str) -> None:
        """Say something of this machine."""
        self._log.log(msg, self.name)

    def nested(self, msg: str, attrs: dict[str, str] | None = None) -> AbstractContextManager[None]:
        """Group what follows under a line."""
        return self._log.nested(msg, self.name)
