"""One machine's container: systemd-nspawn with an overlay over the image, and commands inside it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import cgroup, snapshot
from .errors import MachineError
from .snapshot import Node
from .store import Bind
from .workspace import Workspace

TIMED_OUT = 124
_REBOOTS = 133  # what systemd-nspawn --keep-unit exits with when the container asks for a reboot
_SPAWNED_WITHIN = 20.0
# A machine has its own: what runs out on one is not missing on the others.
_MEMORY = 4 << 30
# Runs in namespaces of its own for mounts and network. The overlay is seen there only, and goes with the last process.
_LAUNCH = """
set -eu
group=$1 memory=$2 image=$3 node=$4
shift 4
echo 0 > "$group/cgroup.procs"
echo 0 > "$memory/cgroup.procs"
echo ready
read -r _ # the driver has plugged the cables in
mount -t overlay overlay -o "lowerdir=$image,upperdir=$node/upper,workdir=$node/work" "$node/root"
exec "$@" < /dev/null >> "$node/console" 2>&1
"""
# Root of a container is root here, and the kernel has one clock and one set of modules for all.
_HARMLESS = ("setpriv", "--bounding-set=-sys_time,-sys_module,-sys_rawio,-sys_boot", "--")
_ENVIRONMENT = (
    *("HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/bash", "TERM=dumb", "LANG=C.UTF-8", "PAGER="),
    *("SYSTEMD_PAGER=", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"),
)


@dataclass(frozen=True)
class Finished:
    """How a command ended and what it said."""

    status: int
    output: bytes
    errors: str


class Container:
    """A container that can be started, killed and started again; its files outlive that."""

    def __init__(self, workspace: Workspace, node: Node, number: int, image: Path, binds: list[Bind]) -> None:
        self.node = node
        self.directory = workspace.directory / node.name
        self.cgroup = workspace.cgroup / node.name
        self._workspace = workspace
        self._network = workspace.network
        self._machine = f"{node.name}-{workspace.name}"
        self._number = number
        self._image = image
        self._binds = binds
        self._process: subprocess.Popen[str] | None = None
        self._init = 0
        self._commands = 0
        for name in ("upper", "work", "root"):
            (self.directory / name).mkdir(parents=True)
        self.cgroup.mkdir()
        self._memory = self.cgroup
        if workspace.memory is not None:
            self._memory = workspace.memory / node.name
            self._memory.mkdir()
        cgroup.limit_memory(self._memory, _MEMORY)
        snapshot.write(node, self.directory / "upper")

    @property
    def console(self) -> Path:
        """The file with what the container said on its console."""
        return self.directory / "console"

    @property
    def init(self) -> int:
        """The process here that is process 1 there; 0 when the container does not run."""
        return self._init if self.running else 0

    @property
    def running(self) -> bool:
        """Whether the container's processes run."""
        return self._process is not None and self._process.poll() is None

    @property
    def wants_reboot(self) -> bool:
        """Whether the container has ended in order to be started again."""
        return self._process is not None and self._process.poll() == _REBOOTS

    def start(self) -> None:
        """Boot; returns when process 1 runs. Raises MachineError when it does not come to that."""
        if self.running:
            return
        self._clear()
        snapshot.boot_with_base(self.directory / "upper")
        arguments = [str(self.cgroup), str(self._memory), str(self._image), str(self.directory), *self._nspawn()]
        # The kernel ends it when the thread that starts it ends, and with it all of its PID namespace: no container
        # survives its driver. (Process 1 of a container alone would survive its systemd-nspawn.)
        isolate = [
            *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--net"),
            *("--pid", "--fork", "--kill-child", "--mount-proc"),
        ]
        with self.console.open("a") as console:
            self._process = subprocess.Popen(
                [*isolate, "sh", "-c", _LAUNCH, "launch", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
                text=True,
                env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "SYSTEMD_NSPAWN_LOCK": "0"},
            )
        self._workspace.processes.append(self._process)
        assert self._process.stdin is not None and self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise MachineError(f"{self.node.name}: no namespaces for the container:\n{self.console_end()}")
        self._network.attach(self._number, self._process.pid, snapshot.networks(self.node))
        self._process.stdin.write("\n")
        self._process.stdin.close()
        self._process.stdout.close()
        self._init = self._find_init()

    def _nspawn(self) -> list[str]:
        binds = [f"--bind-ro={bind.source}:{bind.target}" for bind in self._binds]
        return [
            *("systemd-nspawn", "--quiet", f"--directory={self.directory / 'root'}", "--boot", "--console=passive"),
            *("--register=no", "--keep-unit", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
            *(f"--machine={self._machine}", f"--hostname={self.node.name}"),
            # Its own network namespace is there already, with the cables in it.
            *("--network-namespace-path=/proc/self/ns/net", "--capability=CAP_NET_ADMIN"),
            *binds,
        ]

    def _find_init(self) -> int:
        assert self._process is not None
        deadline = time.monotonic() + _SPAWNED_WITHIN
        while self._process.poll() is None and time.monotonic() < deadline:
            for nspawn in _children(self._process.pid):
                for child in _children(nspawn):
                    if _is_process_1(child):
                        return child
            time.sleep(0.01)
        raise MachineError(f"{self.node.name}: systemd-nspawn started no container; it said:\n{self.console_end()}")

    def console_end(self, lines: int = 30) -> str:
        """The last lines of the console."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def plug(self, *, connected: bool) -> None:
        """Pull the machine's cables, or plug them in again."""
        self._network.plug(self._number, connected=connected)

    def kill(self) -> None:
        """Take the power away: nobody on the network hears of it."""
        if self.running:
            self.plug(connected=False)
            os.kill(self._init, signal.SIGKILL)
            self.wait(_SPAWNED_WITHIN)
        self._clear()

    def wait(self, timeout: float) -> None:
        """Wait until the container has ended. Raises subprocess.TimeoutExpired."""
        if self._process is not None:
            self._process.wait(timeout)

    def _clear(self) -> None:
        """Remove what an earlier boot has left."""
        if self._process is not None:
            self._process = None
            self._network.detach(self._number)
        cgroup.kill(self.cgroup)
        for group in self.cgroup.iterdir():
            if group.is_dir():
                cgroup.remove(group)

    def run(self, script: str, timeout: float | None = None, standard_input: bytes | None = None) -> Finished:
        """Run a Bash script as root, in a login's environment.

        What runs when the time is over is ended with all that it has started, and the status is 124.
        """
        self._commands += 1
        group = self.cgroup / f"command-{self._commands}"
        group.mkdir()
        join = ["sh", "-c", 'echo 0 > "$0/cgroup.procs" && exec "$@"', str(group)]
        enter = [*_HARMLESS, "nsenter", "--target", str(self.init), "--all", "--"]
        enter += ["env", "--ignore-environment", *_ENVIRONMENT]
        with tempfile.TemporaryFile() as errors:
            status, output = _communicate(
                [*join, *enter, "bash", "-c", f"source /etc/profile; cd /tmp\n{script}"],
                group, timeout, standard_input, errors.fileno(),
            )  # fmt: skip
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        if not cgroup.processes(group):
            cgroup.remove(group)
        return Finished(status, output, said)


def _communicate(
    command: list[str], group: Path, timeout: float | None, standard_input: bytes | None, errors: int
) -> tuple[int, bytes]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL if standard_input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    try:
        output, _ = process.communicate(standard_input, timeout)
    except subprocess.TimeoutExpired:
        return TIMED_OUT, _end(process, group)
    except BaseException:
        _end(process, group)
        raise
    # Ended by a signal: what a shell would say.
    return (process.returncode if process.returncode >= 0 else 128 - process.returncode, output)


def _end(process: subprocess.Popen[bytes], group: Path) -> bytes:
    """End a command and its descendants; what it had said until then."""
    process.kill()  # it may not have joined its group yet
    cgroup.kill(group)
    return process.communicate(timeout=_SPAWNED_WITHIN)[0]


def _children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def _is_process_1(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(numbers) > 2 and numbers[-1] == "1"
