"""ray-node: runs `ray start --block` and says to systemd how the node is.

By itself `ray start --block` exits 1 on every stop, says nothing when the node is ready, and goes on without a raylet
when that one exits 0. So this process is the unit's main one (Type=notify, KillMode=mixed):

- it waits for the head, where there is one to wait for, counts GPUs, and starts Ray;
- READY when the health services of GCS and raylet answer and the node's doors are open;
- WATCHDOG while they go on answering; after --grace seconds without an answer it gives up, and systemd starts anew;
- SIGTERM is handed on, on which Ray drains the node (RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S), and the exit code is 0;
  beside it, evacuate.py copies what a worker holds for others to other nodes.

Exit codes: 0 stopped as asked, 69 the node is not healthy any more, 75 a certificate has expired, 78 the machine is not
what was declared, otherwise that of Ray.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from grpc_health import Health, has_expired, health, tls_context
from sessions import prune
from systemd_notify import notify, watchdog_seconds

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
UNHEALTHY, EXPIRED, MISCONFIGURED = 69, 75, 78
PROBE_SECONDS = 5.0
EMPTY_STORE_BYTES = 64 * 1024
_OLD_CERTIFICATE = "the certificate of {} has expired; put a new one at its services.ray.tls.certificateFile, "
_COUNT_GPUS = """
from ray._private.accelerators import get_accelerator_manager_for_resource as find
print(find("GPU").get_current_node_num_accelerators())
"""


class Stopped(Exception):
    """A signal asked for the end."""


class CertificateExpired(Exception):
    """The node cannot come up with the certificates that there are. It says whose it is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is stopped or lost; the exit code is in the module's text."""
    options = _parse(arguments)
    # Blocked signals stay pending until they are waited for: no handler can interrupt what is half done.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS | {signal.SIGCHLD})
    try:
        if options.gpus:
            seen = count_gpus(options.command[0])
            if seen < options.gpus:
                return _fail(
                    MISCONFIGURED,
                    f"this node declares {options.gpus} GPUs and Ray sees {seen}; "
                    "see to the driver and the device access, or write what is there into services.ray.resources.gpus",
                )
        if has_expired(os.environ):
            raise CertificateExpired("this node")
        if options.wait_for:
            _wait_for_head(options.wait_for)
        if options.sessions:
            prune(options.sessions, options.keep_sessions)
        return _run(options)
    except Stopped:
        return 0
    except CertificateExpired as expired:
        return _fail(EXPIRED, _OLD_CERTIFICATE.format(expired) + "which is read at each start")


def count_gpus(ray: str) -> int:
    """How many GPUs Ray finds on this machine, asked in a process of its own so that its memory is not ours."""
    python = Path(ray).parent / "python3"
    found = subprocess.run([python, "-c", _COUNT_GPUS], capture_output=True, text=True, timeout=120)
    if found.returncode:
        print(found.stderr, file=sys.stderr)
    last = found.stdout.strip().splitlines()[-1:] or ["0"]
    return int(last[0]) if last[0].isdecimal() else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ray-node", description="Runs `ray start --block` as a systemd service.")
    parser.add_argument("--wait-for", metavar="HOST:PORT", help="do not start before the GCS there serves")
    parser.add_argument(
        "--health", metavar="HOST:PORT", action="append", default=[], help="gRPC health service to watch"
    )
    parser.add_argument("--door", metavar="HOST:PORT", action="append", default=[], help="must accept before READY")
    parser.add_argument("--gpus", type=int, default=0, help="refuse to start with fewer than this many GPUs")
    parser.add_argument("--grace", type=float, default=20.0, help="seconds without health until the node is given up")
    parser.add_argument("--sessions", type=Path, metavar="DIR", help="Ray's temporary directory, to be pruned")
    parser.add_argument("--keep-sessions", type=int, default=5, help="how many earlier starts keep their logs")
    parser.add_argument("command", nargs="+", help="-- ray start --block …")
    options = parser.parse_args(arguments)
    if not options.health:
        parser.error("name at least one --health HOST:PORT")
    return options


def _wait_for_head(address: str) -> None:
    notify(STATUS=f"waiting for the head at {address}")
    print(f"ray-node: waiting for the head at {address}", file=sys.stderr)
    tls = tls_context(os.environ)
    while not _serves(address, tls):
        _pause(1.0)


def _run(options: argparse.Namespace) -> int:
    notify(STATUS="starting Ray")
    child = os.posix_spawnp(options.command[0], options.command, os.environ, setsigmask=[])
    try:
        _await_ready(options, child)
        notify(READY="1", STATUS="healthy")
        _watch(options, child)
    except Stopped:
        notify(STOPPING="1", STATUS="draining")
        evacuation = _evacuate(options, child)
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        if evacuation:
            os.kill(evacuation, signal.SIGKILL)
        return 0
    except ChildEnded as ended:
        return _fail(ended.code or 1, f"ray start ended by itself with code {ended.code}")
    return _fail(UNHEALTHY, f"no answer from {' or '.join(options.health)} for {options.grace:g} s; giving the node up")


def _evacuate(options: argparse.Namespace, child: int) -> int | None:
    """Start to copy a worker's objects elsewhere, if it had any and is given time; the process, if there is one."""
    seconds = os.environ.get("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "30")
    python = str(Path(options.command[0]).parent / "python3")
    program = str(Path(__file__).with_name("evacuate.py"))
    place = [f"--gcs={options.wait_for}", f"--raylet={options.health[0]}", f"--seconds={seconds}"]
    try:
        if options.wait_for and float(seconds) > 0 and store_was_used(child):
            return os.posix_spawnp(python, [python, program, *place], os.environ, setsigmask=[])
    except (OSError, ValueError) as error:
        print(f"ray-node: objects are left on this node: {error}", file=sys.stderr)
    return None


def store_was_used(child: int) -> bool:
    """Whether the object store of the raylet under `ray start` has ever had an object: whether its file has pages."""
    used = 0
    for process in Path(f"/proc/{child}/task/{child}/children").read_text().split():
        for file in Path(f"/proc/{process}/fd").glob("*"):
            with contextlib.suppress(OSError):
                if Path(os.readlink(file)).name.startswith("plasma"):
                    used += file.stat().st_blocks * 512
    return used > EMPTY_STORE_BYTES


class ChildEnded(Exception):
    """Ray ended without being asked to."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _await_ready(options: argparse.Namespace, child: int) -> None:
    tls = tls_context(os.environ)
    while not (
        all(_serves(address, tls) for address in options.health) and all(_accepts(address) for address in options.door)
    ):
        _pause(0.2, child)


def _watch(options: argparse.Namespace, child: int) -> None:
    """Return when the node has been without health for the grace period."""
    tls = tls_context(os.environ)
    interval = min(PROBE_SECONDS, (watchdog_seconds() or 3 * PROBE_SECONDS) / 3)
    last_healthy, warned = time.monotonic(), False
    while time.monotonic() - last_healthy < options.grace:
        _pause(interval, child)
        found = {health(address, PROBE_SECONDS, tls) for address in options.health}
        if Health.EXPIRED in found and not warned:
            warned = True
            # Connections that are open go on, and with them what runs: no reason to end it.
            advice = "and restart the unit: no new connections are made"
            print(f"ray-node: {_OLD_CERTIFICATE.format('this node')}{advice}", file=sys.stderr)
        if Health.SILENT not in found:
            last_healthy = time.monotonic()
        # Systemd hears that this process is alive; whether the node is, is decided here, and the journal says why.
        notify(WATCHDOG="1")


def _pause(seconds: float, child: int | None = None) -> None:
    """Sleep until the time is over; raise Stopped on a signal to stop, ChildEnded when the child has ended."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        received = signal.sigtimedwait(STOP_SIGNALS | {signal.SIGCHLD}, left)
        if received and received.si_signo in STOP_SIGNALS:
            raise Stopped
        if child is not None:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                raise ChildEnded(os.waitstatus_to_exitcode(status) % 256)


def _serves(address: str, tls: ssl.SSLContext | None) -> bool:
    """Whether the server serves. Raises CertificateExpired."""
    found = health(address, PROBE_SECONDS, tls)
    if found is Health.EXPIRED:
        raise CertificateExpired(address)
    return found is Health.SERVING


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PROBE_SECONDS):
            return True
    except OSError:
        return False


def _fail(code: int, reason: str) -> int:
    print(f"ray-node: {reason}", file=sys.stderr)
    notify(STATUS=reason)
    return code


if __name__ == "__main__":
    sys.exit(main())
