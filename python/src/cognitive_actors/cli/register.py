"""``cognitive register``: what this machine has for language models, to the cluster, for as long as it runs."""

from __future__ import annotations

import shutil
import signal
import socket
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from threading import Event
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console

from ..cluster import ensure_ray_initialized
from ..llama.builds import build_of
from ..llama.declared import RpcServer, model_files, rpc_servers
from ..llama.model_files import ModelFiles
from ..llama.notices import Notices
from ..llama.redis_nodes import RedisNodes
from ..llama.reporting import Heartbeat
from ..llama.reports import NodeReport
from ..llama.sensing import Machine
from . import notify

#: Seconds that one try to reach the cluster takes at most.
_DEADLINE = 10.0


def command(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="Of this node, unique in the cluster; the host name.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Where other nodes reach this one; the address of Ray's node.")
    ] = None,
    rpc: Annotated[
        list[str] | None,
        typer.Option(
            help="An RPC server of llama.cpp and its device (CPU, CUDA0, ...).", metavar="DEVICE=ADDRESS:PORT"
        ),
    ] = None,
    rpc_build: Annotated[
        str | None,
        typer.Option(help="Build of the RPC servers; that of llama-server.", metavar="NUMBER"),
    ] = None,
    llama_server: Annotated[
        str | None, typer.Option(help="llama.cpp's llama-server; the one on PATH.", metavar="PROGRAM")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model file and its name.", metavar="NAME=PATH")] = None,
    models: Annotated[
        list[Path] | None,
        typer.Option(help="Folder whose *.gguf are models by their file names.", exists=True, file_okay=False),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            envvar="COGNITIVE_NODES_REDIS",
            help="Redis into which RPC servers are written as SOLLOL reads them.",
            metavar="redis://HOST:PORT",
        ),
    ] = None,
    redis_password_file: Annotated[
        Path | None, typer.Option(help="File with that server's password.", metavar="FILE")
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="Ray cluster; RAY_ADDRESS or the node here if left out.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Report once, and leave.")] = False,
) -> None:
    """Tell the cluster what this machine has for language models, every 10 s until Ctrl-C or SIGTERM.

    Exit code 0 also where it was told to stop, 2 for arguments that are wrong. A cluster that is away is waited for,
    and a report that is refused is made again; with --once it leaves with 3 and 2.
    """
    console = Console(stderr=True)
    notices = Notices(partial(console.print, markup=False, highlight=False, soft_wrap=True))
    servers, files = rpc_servers(rpc or []), ModelFiles(model_files(model or []), models or [])
    source = context.get_parameter_source("redis")
    if redis is not None and source is not None and source.name == "COMMANDLINE":
        _check_argument(redis)
    nodes = None if redis is None else RedisNodes(redis, _password(redis_password_file), notices)
    build, of_servers = _builds(llama_server, rpc_build, servers)
    machine = Machine(_name(name), build, of_servers, servers, files, notices)
    stop = Event()

    def connect() -> None:
        _connect(cluster)
        # Ray has its own answer to SIGTERM, and gives it as soon as it is connected.
        if not once:
            _listen(stop)

    if not once:
        _listen(stop)
    heartbeat = Heartbeat(machine, connect, notices, address, nodes.publish if nodes else None)
    # Ray prints to standard output what its processes say.
    with redirect_stdout(sys.stderr):
        if once:
            _say_accepted(console, heartbeat.once())
        else:
            heartbeat.until(stop, _Accepted(console))


def _connect(cluster: str | None) -> None:
    found = ensure_ray_initialized(cluster, allow_embedded=False, deadline=_DEADLINE)
    if found.address.startswith("ray://"):
        raise ValueError(
            f"the cluster is {found.address} (from {found.source}), as its clients reach it, and this command runs on a"
            " node of it; write --cluster HOST:PORT of the head"
        )


class _Accepted:
    """Says the first report that is accepted, to people and to systemd."""

    def __init__(self, console: Console) -> None:
        self._console, self._first = console, True

    def __call__(self, report: NodeReport) -> None:
        if self._first:
            self._first = False
            _say_accepted(self._console, report)
            notify.ready()


def _say_accepted(console: Console, report: NodeReport) -> None:
    said = (
        f"reported as {report.name!r} at {report.address}: {len(report.devices)} devices, {len(report.models)} models"
    )
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def _listen(stop: Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())


def _name(given: str | None) -> str:
    name = socket.gethostname() if given is None else given
    if not name.strip():
        raise ValueError(f"--name is {name!r}; write a name that no other node of the cluster has")
    return name


def _builds(program: str | None, rpc_build: str | None, servers: tuple[RpcServer, ...]) -> tuple[str, str]:
    """Builds of llama-server, empty where there is none, and of the RPC servers."""
    found = program or shutil.which("llama-server")
    build = build_of(found) if found else ""
    if servers and not (rpc_build or build):
        raise ValueError(
            "the build of the RPC servers is not known: there is no llama-server on PATH; write --llama-server PROGRAM,"
            " or --rpc-build NUMBER as `llama-server --version` says it where they were built"
        )
    # llama.cpp's releases are called b11669.
    return build, rpc_build.removeprefix("b") if rpc_build else build


def _check_argument(url: str) -> None:
    try:
        secret: Any = urlsplit(url).password
    except ValueError:
        return
    if secret is not None:
        raise ValueError(
            "--redis has a password, which everybody on this machine can see; write it into the file that"
            " --redis-password-file names, or the URL into COGNITIVE_NODES_REDIS"
        )


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text().strip() or None
    except OSError as error:
        raise ValueError(f"--redis-password-file is {path}: {error.strerror}; write a file that can be read") from None
    except UnicodeDecodeError:
        raise ValueError(f"--redis-password-file is {path}, which is no text; write a file with the password") from None
