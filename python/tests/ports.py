"""Ports that are still free when a test's program comes to listen on them."""

from __future__ import annotations

import random
import socket

# Not one that the system hands out by itself: before the program listens, Ray's many listeners ask for any, and get it.
# And none of those that Ray's workers try in turn, from 10002 on.
_RANGE = range(20000, 32768)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    while True:
        port = random.SystemRandom().choice(_RANGE)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
