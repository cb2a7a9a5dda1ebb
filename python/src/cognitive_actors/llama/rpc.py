"""A look at an RPC server of llama.cpp.

It serves one client at a time, and dies when it answers one that has left. So only who holds its lease, with no
llama-server of theirs connected, may say hello.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

from .errors import CoordinatorFailed

__all__ = ["Version", "says_hello", "silent"]

#: Major, minor and patch of the protocol that a server speaks.
Version = tuple[int, int, int]

# RPC_CMD_HELLO and the size of what a client says of its transports, nothing here (ggml-rpc.cpp, protocol 8).
_HELLO, _CAPABILITIES = 14, 24
#: Bytes of an answer: the version, and, in newer ones, the server's transports. More is not read.
_LEAST, _MOST = 3, 256


def _address(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{endpoint!r} is no endpoint; write ADDRESS:PORT")
    return host.strip("[]"), int(port)


@asynccontextmanager
async def _connected(endpoint: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*_address(endpoint))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def says_hello(endpoint: str, seconds: float) -> Version:
    """The version of the protocol that the server behind ``address:port`` speaks.

    For who holds its lease alone. Raises CoordinatorFailed, with the endpoint as suspect, where there is none, it does
    not answer within ``seconds``, or not as an RPC server does.
    """
    try:
        async with asyncio.timeout(seconds), _connected(endpoint) as (reader, writer):
            writer.write(struct.pack("<BQ", _HELLO, _CAPABILITIES) + bytes(_CAPABILITIES))
            (size,) = struct.unpack("<Q", await reader.readexactly(8))
            if not _LEAST <= size <= _MOST:
                said = f"answers as no RPC server does, with {size} bytes; look what listens there"
                raise CoordinatorFailed(f"{endpoint} {said}", (endpoint,))
            major, minor, patch = (await reader.readexactly(size))[:3]
            return major, minor, patch
    except TimeoutError:
        why = f"does not answer within {seconds:g} s; it hangs, or serves another client"
    except asyncio.IncompleteReadError:
        why = "takes no greeting; it is another build of llama.cpp, or no RPC server"
    except OSError as error:
        why = f"cannot be reached: {error.strerror or error}"
    raise CoordinatorFailed(f"RPC server {endpoint} {why}", (endpoint,))


async def silent(endpoints: Iterable[str], seconds: float) -> tuple[CoordinatorFailed, ...]:
    """Those that say no hello, all looked at together, in the order given. For who holds the leases of all."""
    looks = (says_hello(endpoint, seconds) for endpoint in endpoints)
    found = await asyncio.gather(*looks, return_exceptions=True)
    for each in found:
        if isinstance(each, BaseException) and not isinstance(each, CoordinatorFailed):
            raise each
    return tuple(each for each in found if isinstance(each, CoordinatorFailed))
