"""Looks at RPC servers: real ones, and what else may listen where one should."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from llama_programs import rpc_servers
from planned import run
from ports import free_port

from cognitive_actors.llama.errors import CoordinatorFailed
from cognitive_actors.llama.rpc import says_hello, silent


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Something that answers whatever is said with these bytes, and leaves. Yields its endpoint."""

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(answered, "127.0.0.1", port := free_port()):
        yield f"127.0.0.1:{port}"


def test_a_server_says_its_version_and_then_serves_others(tmp_path: Path) -> None:
    async def test() -> None:
        first = await says_hello(server.endpoint, 10)
        assert first[0] >= 1
        assert await says_hello(server.endpoint, 10) == first
        assert await silent([server.endpoint], 10) == ()

    with rpc_servers(tmp_path, 1) as (server,):
        run(test)


def test_one_that_hangs_says_nothing(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(CoordinatorFailed, match=r"does not answer within 0\.5 s") as failed:
            await says_hello(server.endpoint, 0.5)
        assert failed.value.suspects == (server.endpoint,)

    with rpc_servers(tmp_path, 1) as (server,):
        server.hang()
        run(test)


def test_one_that_is_not_there_cannot_be_reached(tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(CoordinatorFailed, match="cannot be reached"):
            await says_hello(gone, 10)
        found = await silent([gone, server.endpoint, hung.endpoint], 5.0)
        assert [each.suspects for each in found] == [(gone,), (hung.endpoint,)]

    gone = f"127.0.0.1:{free_port()}"
    with rpc_servers(tmp_path, 2) as (server, hung):
        hung.hang()
        run(test)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "takes no greeting"),
        (struct.pack("<Q", 28) + b"\x08", "takes no greeting"),
        (struct.pack("<Q", 1 << 62) + bytes(5000), "4611686018427387904 bytes"),
        (struct.pack("<Q", 0), "0 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answers as no RPC server does"),
    ],
)
def test_nonsense_is_said_to_be_such(answer: bytes, why: str) -> None:
    async def test() -> None:
        async with answering(answer) as endpoint:
            with pytest.raises(CoordinatorFailed, match=why) as failed:
                await says_hello(endpoint, 10)
            assert failed.value.suspects == (endpoint,)

    run(test)


@pytest.mark.parametrize("size", [3, 4, 28])
def test_servers_of_other_builds_say_their_version_too(size: int) -> None:
    async def test() -> None:
        async with answering(struct.pack("<Q", size) + bytes([3, 1, 2]) + bytes(size - 3)) as endpoint:
            assert await says_hello(endpoint, 10) == (3, 1, 2)

    run(test)


@pytest.mark.parametrize("endpoint", ["", "node", "node:", "node:http", "node:99999", ":50052"])
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    async def test() -> None:
        with pytest.raises(ValueError, match="write ADDRESS:PORT"):
            await says_hello(endpoint, 1)

    run(test)
