"""What this machine has for language models, as it is now."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import psutil

from .declared import RpcServer
from .gpus import Gpus, look_at_gpus
from .model_files import ModelFiles
from .notices import Notices
from .reports import DeviceReport, NodeReport

__all__ = ["Machine", "listens"]

#: Seconds to wait for an RPC server to take a connection.
_CONNECT = 2.0


class Machine:
    """A machine, and what its operator says of it.

    name: of the node; build: of its llama-server, empty where it has none; rpc_build: of its RPC servers; servers,
    models: what it offers; notices: takes what is left out of a report, and why. One thread at a time: how busy the
    processors were is counted from the look before.
    """

    def __init__(
        self,
        name: str,
        build: str,
        rpc_build: str,
        servers: Sequence[RpcServer],
        models: ModelFiles,
        notices: Notices,
    ) -> None:
        self.name = name
        self._build, self._rpc_build, self._servers, self._models = build, rpc_build, servers, models
        self._notices = notices
        psutil.cpu_percent()

    def look(self, node: str, address: str) -> NodeReport:
        """The machine as it is now. node: its id in Ray; address: where the others reach it."""
        memory = psutil.virtual_memory()
        total, available = int(memory.total), min(int(memory.available), int(memory.total))
        busy = min(max(psutil.cpu_percent() / 100, 0.0), 1.0)
        devices = self._devices(total, available)
        models = self._models.look()
        return NodeReport(self.name, node, address, self._build, total, available, busy, devices, models)

    def _devices(self, total: int, available: int) -> tuple[DeviceReport, ...]:
        gpus = look_at_gpus() if any(server.device != "CPU" for server in self._servers) else Gpus()
        found: list[DeviceReport] = []
        missing: dict[str, str] = {}
        for server in self._servers:
            gpu = gpus.found.get(server.device)
            if server.device != "CPU" and gpu is None:
                why = gpus.silent.get(server.device, gpus.absent)
                missing[server.device] = f"{server.device} is not reported: nothing is known of its memory: {why}"
            elif not listens(server.host, server.port):
                missing[server.device] = f"{server.device} is not reported: no RPC server listens at {server.endpoint}"
            elif gpu is None:
                found.append(DeviceReport(server.device, server.endpoint, total, available, self._rpc_build))
            else:
                free = min(gpu.free, gpu.total)
                found.append(
                    DeviceReport(server.device, server.endpoint, gpu.total, free, self._rpc_build, gpu=gpu.name)
                )
        self._notices.only("device", missing)
        return tuple(found)


def listens(host: str, port: int) -> bool:
    """Whether a server takes connections.

    Nothing is said over it: an RPC server of llama.cpp has one client at a time, and others wait until that has gone.
    """
    try:
        with socket.create_connection((host, port), timeout=_CONNECT):
            return True
    except OSError:
        return False
