"""What a command that is a unit of Type=notify says to systemd (sd_notify(3)); silent where nobody listens."""

from __future__ import annotations

import os
import socket


def ready() -> None:
    """Say READY=1 to the service manager."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"READY=1", address)
