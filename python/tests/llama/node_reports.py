"""Reports that tests of the registry make, and the command that makes real ones."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from cognitive_actors.llama.reports import DeviceReport, NodeReport

GIB = 1 << 30


def device(endpoint: str, name: str = "CUDA0", gpu: str | None = "NVIDIA H100") -> DeviceReport:
    return DeviceReport(name, endpoint, 80 * GIB, 70 * GIB, "11669", gpu)


def reported(name: str, node: str | None = None, *devices: DeviceReport) -> NodeReport:
    """The report of a node of 64 GiB, by its name and its id in Ray."""
    return NodeReport(name, node or f"ray-{name}", f"{name}.example", "11669", 64 * GIB, 48 * GIB, 0.25, devices)


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket that takes connections, as a busy RPC server does: nobody accepts them."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server


def port_of(server: socket.socket) -> int:
    port: int = server.getsockname()[1]
    return port
