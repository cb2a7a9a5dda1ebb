"""What a unit of Type=notify says to systemd (sd_notify(3)); silent where nobody listens."""

from __future__ import annotations

import os
import socket


def notify(**fields: str) -> None:
    """Send fields, such as READY="1" or STATUS="waiting", to the socket of the service manager."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    message = "\n".join(f"{name}={value}" for name, value in fields.items())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(message.encode(), address)


def watchdog_seconds() -> float | None:
    """Within how many seconds systemd wants to hear WATCHDOG=1 again, or None."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    addressed = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if microseconds.isdecimal() and addressed else None
