"""The real llama-server and RPC server of llama.cpp, and servers of tests that end with them.

Those that LLAMA_SERVER and GGML_RPC_SERVER name, or on PATH; else, on Debian, those of its packages in sid, which are
put into a directory of their own, once for all tests to come. Nothing else of the machine changes.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

_CACHE = Path("~/.cache/ray-nixos/llama").expanduser()
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_WANTED = ("llama.cpp-tools", "llama.cpp-tools-extra", "libggml0-backend-rpc")
# Beside those, what of their dependencies the two programs load.
_LOADED = ("libllama0", "libggml0", "libc6", "libgcc-s1", "libstdc++6", "libgomp1", "libssl3t64", "libzstd1", "zlib1g")
_PROGRAMS = {
    "llama-server": "usr/bin/llama-server",
    "ggml-rpc-server": "usr/libexec/x86_64-linux-gnu/llama/bin/ggml-rpc-server",
}
# ggml looks for its backends where it is started; the loader of the packages goes with their libc.
_WRAPPER = """#!/bin/sh
lib={root}/usr/lib/x86_64-linux-gnu
cd "$lib/ggml/backends0" || exit
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib:$lib/llama" {root}/{program} "$@"
"""


def llama_server() -> str:
    """The path of llama-server. Skips the test where there is none and none can be had."""
    return _program("LLAMA_SERVER", "llama-server")


def rpc_server() -> str:
    """The path of its RPC server. Skips as ``llama_server`` does."""
    return _program("GGML_RPC_SERVER", "ggml-rpc-server", "llama-rpc-server", "rpc-server")


def _program(variable: str, *names: str) -> str:
    found = os.environ.get(variable) or next(filter(None, map(shutil.which, names)), None)
    if found:
        return found
    if missing := _install():
        pytest.skip(f"no {names[0]}: {missing}; install llama.cpp with RPC, or name the program in {variable}")
    return str(_CACHE / "bin" / names[0])


@functools.cache
def _install() -> str | None:
    """Why the packages of sid cannot be had; None where they are there."""
    lacking = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if lacking or os.uname().machine != "x86_64" or not _KEYS.exists():
        return f"this is no Debian of amd64 with {_KEYS}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with open(_CACHE / "lock", "w") as lock:
        # Another test's process may be at it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all((_CACHE / "bin" / name).exists() for name in _PROGRAMS):
            return None
        try:
            _unpack(_downloaded(_CACHE / "apt"), _CACHE / "root")
        except subprocess.SubprocessError as failure:
            said = failure.stderr if isinstance(failure, subprocess.CalledProcessError) else str(failure)
            return f"Debian's packages cannot be had: {str(said).strip()[-300:]}"
        finally:
            shutil.rmtree(_CACHE / "apt", ignore_errors=True)
    return None


def _downloaded(apt: Path) -> Path:
    """The directory with the packages, signed as Debian signs them."""
    for name in ("state/lists/partial", "cache/archives/partial", "log"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    signed = f"[signed-by={_KEYS} check-valid-until=no]"
    (apt / "sources.list").write_text(f"deb {signed} http://deb.debian.org/debian sid main\n")
    settings = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State": apt / "state",
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Dir::Log": apt / "log",
        # Without root there is nobody to become.
        "APT::Sandbox::User": "",
        "Debug::NoLocking": "1",
        "Acquire::Languages": "none",
        "Acquire::http::Timeout": "20",
    }
    options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
    _run("apt-get", "-q", *options, "update")
    _run("apt-get", "-q", "-y", *options, "install", "--no-install-recommends", "--download-only", *_WANTED)
    return apt / "cache/archives"


def _unpack(archives: Path, root: Path) -> None:
    for name in (*_WANTED, *_LOADED):
        for package in archives.glob(f"{name}_*.deb"):
            _run("dpkg-deb", "-x", str(package), str(root))
    (_CACHE / "bin").mkdir(exist_ok=True)
    for name, program in _PROGRAMS.items():
        made = _CACHE / "bin" / f"{name}.new"
        made.write_text(_WRAPPER.format(root=root, program=program))
        made.chmod(0o755)
        made.rename(_CACHE / "bin" / name)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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
    end = time.monotonic() + 30
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
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
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
