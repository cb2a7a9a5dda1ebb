"""What an operator says that a machine has: RPC servers and model files, as the command line takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["RpcServer", "model_files", "rpc_servers"]

#: llama.cpp takes what is before the first colon for the host: a name or an IPv4 address.
_ENDPOINT = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?):([0-9]{1,5})", re.ASCII)
_DEVICE = re.compile(r"CPU|CUDA[0-9]{1,3}", re.ASCII)


@dataclass(frozen=True)
class RpcServer:
    """device: as llama.cpp names it; host, port: where others reach the server."""

    device: str
    host: str
    port: int

    @property
    def endpoint(self) -> str:
        """``address:port``."""
        return f"{self.host}:{self.port}"


def rpc_servers(texts: Sequence[str]) -> tuple[RpcServer, ...]:
    """RPC servers from ``DEVICE=ADDRESS:PORT`` each.

    Raises ValueError for what is none of it, and for a device or an address that is there twice.
    """
    found: list[RpcServer] = []
    for text in texts:
        server = _rpc_server(text)
        for other in found:
            if other.device == server.device:
                raise ValueError(f"--rpc names {server.device} twice; write one RPC server for each device")
            if other.endpoint == server.endpoint:
                raise ValueError(
                    f"--rpc has {server.endpoint} for {other.device} and for {server.device}; write one RPC server for"
                    " each device, on ports of their own"
                )
        found.append(server)
    return tuple(found)


def model_files(texts: Sequence[str]) -> dict[str, Path]:
    """Paths of model files by name, from ``NAME=PATH`` each.

    Raises ValueError for what is none of it, for a name that is there twice and for a file that is not there.
    """
    found: dict[str, Path] = {}
    for text in texts:
        name, mark, path = text.partition("=")
        if not (mark and name.strip() and path):
            raise ValueError(f"--model is {text!r}; write NAME=PATH, such as llama3:8b=/models/llama3-8b.gguf")
        if name in found:
            raise ValueError(f"--model names {name!r} twice; give each file a name of its own")
        if not Path(path).is_file():
            raise ValueError(f"--model {name}: there is no file {path}; write the path of a .gguf file")
        found[name] = Path(path).absolute()
    return found


def _rpc_server(text: str) -> RpcServer:
    device, mark, endpoint = text.partition("=")
    if not mark:
        raise ValueError(f"--rpc is {text!r}; write DEVICE=ADDRESS:PORT, such as CUDA0=192.168.1.20:50052")
    if not _DEVICE.fullmatch(device):
        raise ValueError(f"--rpc is {text!r}: no memory is known of a device {device!r}; write CPU, CUDA0, CUDA1 ...")
    parts = _ENDPOINT.fullmatch(endpoint)
    if parts is None or not 0 < int(parts[3]) < 65536:
        raise ValueError(
            f"--rpc is {text!r}: {endpoint!r} is no ADDRESS:PORT; write a host name or an IPv4 address, and a port"
            " between 1 and 65535"
        )
    if parts[1] == "0.0.0.0":
        raise ValueError(f"--rpc is {text!r}; write the address under which other nodes reach this machine")
    return RpcServer(device, parts[1], int(parts[3]))
