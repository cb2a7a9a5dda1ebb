"""The real llama-server and RPC server of llama.cpp, and servers of tests that end with them.

Those that LLAMA_SERVER and GGML_RPC_SERVER name, or on PATH; else those that tests/llama-programs of this repository
puts into a directory of their own, once for all tests to come. Nothing else of the machine changes.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from ports import free_port

_INSTALLER = Path(__file__).resolve().parents[2] / "tests/llama-programs"
# Where the machines of cluster tests find them as well.
_PROGRAMS = Path("~/.cache/ray-nixos/llama-programs").expanduser()


def llama_server() -> str:
    """The path of llama-server. Skips the test where there is none and none can be had."""
    return _program("LLAMA_SERVER", "llama-server")


def rpc_server() -> str:
    """The path of its RPC server. Skips as ``llama_server`` does."""
    return _program("GGML_RPC_SERVER", "llama-rpc-server", "ggml-rpc-server", "rpc-server")


def _program(variable: str, *names: str) -> str:
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    if found:
        return found
    if missing := _install():
        pytest.skip(f"no {names[0]}: {missing}; install llama.cpp with RPC, or name the program in {variable}")
    return str(_PROGRAMS / "bin" / names[0])


@functools.cache
def _install() -> str | None:
    """Why the programs cannot be had; None where they are there."""
    try:
        subprocess.run(
            [_INSTALLER, _PROGRAMS], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600
        )
    except subprocess.CalledProcessError as failure:
        return str(failure.stderr).strip()
    except (OSError, subprocess.TimeoutExpired) as failure:
        return str(failure)
    return None


@contextmanager
def running(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose output goes to a file: a pipe that nobody reads stops llama-server once it is full."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def waited(process: subprocess.Popen[bytes], log: Path, said: str) -> str:
    """The log, once it says something. A hasty look at the RPC server's port would take its only client's place."""
    end = time.monotonic() + 120
    while not re.search(said, text := log.read_text(errors="replace")):
        assert process.poll() is None, text[-2000:]
        assert time.monotonic() < end, text[-2000:]
        time.sleep(0.05)
    return text


class RpcServer:
    """An RPC server on a free port of the loopback interface, that can be killed, hung and started again."""

    def __init__(self, directory: Path) -> None:
        self._port = free_port()
        self.endpoint = f"127.0.0.1:{self._port}"
        self._log = directory / f"rpc-{self._port}.log"
        self.start()

    def start(self) -> None:
        command = [rpc_server(), "-H", "127.0.0.1", "-p", str(self._port)]
        with open(self._log, "wb") as output:
            # As below systemd: a client that is gone does not end it by a signal.
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, restore_signals=False)
        waited(self.process, self._log, r"(?i)endpoint")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def hang(self) -> None:
        """It takes connections and answers nothing, until ``kill``."""
        self.process.send_signal(signal.SIGSTOP)


@contextmanager
def rpc_servers(directory: Path, count: int) -> Iterator[list[RpcServer]]:
    """So many RPC servers, ended with the test."""
    with ExitStack() as ends:
        servers = []
        for _ in range(count):
            servers.append(RpcServer(directory))
            ends.callback(servers[-1].kill)
        yield servers
