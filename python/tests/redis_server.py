"""A real Redis server on a free port of the loopback interface, for the time of a test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ports import free_port


def _program() -> str:
    """The redis-server of this machine; as root on Debian it is installed. Skips the test where there is none."""
    if shutil.which("redis-server") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "redis-server"]):
            subprocess.run(command, env=quiet, capture_output=True, timeout=300, check=False)
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not installed, and only root on Debian can install it here")
    return found


@contextmanager
def redis_server(directory: Path, password: str = "", **settings: str) -> Iterator[str]:
    """HOST:PORT of a server that keeps its data in ``directory``, every write on the disk before it answers."""
    program, port = _program(), free_port()
    chosen = {"bind": "127.0.0.1", "port": str(port), "dir": str(directory), "save": '""', "appendonly": "yes"}
    chosen |= {"appendfsync": "always", "daemonize": "no"} | settings
    if password:
        chosen["requirepass"] = password
    # A file, because arguments are seen by everybody on the machine.
    config = directory / "redis.conf"
    config.write_text("".join(f"{name.replace('_', '-')} {value}\n" for name, value in chosen.items()))
    server = subprocess.Popen([program, str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while True:
            assert server.poll() is None, "redis-server ended at once"
            assert time.monotonic() < end, "redis-server does not listen"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(timeout=10)
