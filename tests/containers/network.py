"""The cables: one bridge for each network, in a network namespace of the run's own.

Bridges and the near ends of the cables live in the namespace of a process that does nothing but hold it. So nothing of
the host is touched, two runs may use the same names, and everything is gone when the process is.
"""

from __future__ import annotations

import os
import subprocess
import time

LONGEST_NAME = 15
_TIMEOUT = 20.0


class Network:
    """Bridges, and machines on them."""

    def __init__(self) -> None:
        hold = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sleep", "infinity"]
        self._holder = subprocess.Popen(hold, stdin=subprocess.DEVNULL)
        self._bridges: set[str] = set()
        self._cables: dict[int, list[str]] = {}
        self._wait_for_namespace()

    def _wait_for_namespace(self) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while os.readlink(f"/proc/{self._holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            if self._holder.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("no network namespace could be made; is this process root with CAP_SYS_ADMIN?")
            time.sleep(0.01)

    def attach(self, machine: int, process: int, networks: list[str]) -> None:
        """Give the network namespace of a process an interface for each network, named like the network."""
        commands = []
        for name in networks:
            if name not in self._bridges:
                commands += [f"link add {name} type bridge", f"link set {name} up"]
                self._bridges.add(name)
        cables = [f"m{machine}-{number}" for number in range(len(networks))]
        for number, (cable, name) in enumerate(zip(cables, networks, strict=True)):
            # The address is the machine's own for good, as with a network card: neighbours remember it.
            address = f"02:00:00:00:{machine:02x}:{number:02x}"
            commands += [
                f"link add {cable} type veth peer name {name} address {address} netns {process}",
                f"link set {cable} master {name} up",
            ]
        self._cables[machine] = cables
        self._ip(commands)

    def detach(self, machine: int) -> None:
        """Remove a machine's cables. They go with its namespace anyway, but not at once."""
        for cable in self._cables.pop(machine, []):
            self._ip([f"link del {cable}"], check=False)

    def plug(self, machine: int, *, connected: bool) -> None:
        """Pull all cables of a machine, or plug them in again."""
        self._ip([f"link set {cable} {'up' if connected else 'down'}" for cable in self._cables.get(machine, [])])

    def close(self) -> None:
        """End the namespace and with it all bridges and cables."""
        self._holder.kill()
        self._holder.wait(_TIMEOUT)

    def _ip(self, commands: list[str], *, check: bool = True) -> None:
        if not commands:
            return
        enter = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "ip", "-batch", "-"]
        done = subprocess.run(enter, input="\n".join(commands) + "\n", text=True, capture_output=True, timeout=_TIMEOUT)
        if check and done.returncode:
            raise RuntimeError(f"ip {'; '.join(commands)}: {done.stderr.strip()}")
