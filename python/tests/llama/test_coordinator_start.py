"""How a coordinator starts, and what it says and leaves where it cannot."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from llama_programs import llama_server, rpc_servers
from planned import AMPLE, planned, run
from ports import free_port
from tiny_gguf import tiny_tensors, write_gguf

from cognitive_actors.llama import coordinator as coordinators
from cognitive_actors.llama.coordinator import LlamaCppCoordinator
from cognitive_actors.llama.errors import CoordinatorFailed
from cognitive_actors.placement.plans import Share, Split
from cognitive_actors.placement.servers import MOST_SERVERS


def test_an_rpc_server_that_is_missing_is_named_before_anything_starts(tmp_path: Path, tiny_model: Path) -> None:
    async def test() -> None:
        for gone in (servers[0], servers[1]):
            gone.kill()
            coordinator = LlamaCppCoordinator(planned(tiny_model, servers), program=llama_server())
            with pytest.raises(CoordinatorFailed, match="cannot be reached") as failed:
                await coordinator.start(AMPLE)
            assert failed.value.suspects == (gone.endpoint,)
            assert coordinator.pid == 0
            gone.start()

    with rpc_servers(tmp_path, 2) as servers:
        run(test)


@pytest.mark.parametrize("unseen", [False, True])
def test_a_port_that_is_taken_is_not_the_one(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, unseen: bool) -> None:
    async def test() -> None:
        coordinator = LlamaCppCoordinator(planned(tiny_model, []), program=llama_server(), base_port=port)
        try:
            await coordinator.start(AMPLE)
            assert coordinator.port > port
            await coordinator.check(AMPLE)
        finally:
            await coordinator.stop()

    if unseen:
        # As if another had taken it after the look.
        monkeypatch.setattr(coordinators, "_is_free", lambda port: True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run(test)


@pytest.mark.parametrize("count", [MOST_SERVERS, MOST_SERVERS + 1])
def test_as_many_rpc_servers_as_the_planner_gives_are_taken_and_no_more(tmp_path: Path, count: int) -> None:
    async def test() -> None:
        coordinator = LlamaCppCoordinator(plan, program=llama_server(), base_port=free_port())
        try:
            if count > MOST_SERVERS:
                with pytest.raises(CoordinatorFailed, match="devices"):
                    await coordinator.start(AMPLE)
            else:
                await coordinator.start(AMPLE)
                await coordinator.check(AMPLE)
        finally:
            await coordinator.stop()

    model = write_gguf(tmp_path / "model.gguf", tiny_tensors(count), {"block_count": count})
    with rpc_servers(tmp_path, count) as servers:
        # A layer on each, and the output unit on the last.
        units = [*[1] * (count - 1), 2]
        shares = [Share("n", f"d{i}", each.endpoint, units[i], 0, 0) for i, each in enumerate(servers)]
        plan = replace(planned(model, servers[:1]), split=Split(0, tuple(shares), 0, 0))
        run(test)


def test_no_free_port_is_said(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        coordinator = LlamaCppCoordinator(planned(tiny_model, []), program=llama_server(), base_port=20000)
        with pytest.raises(CoordinatorFailed, match="no port of 20000 to 20999 is free here; name another base_port"):
            await coordinator.start(AMPLE)

    monkeypatch.setattr(coordinators, "_is_free", lambda port: False)
    run(test)


def test_programs_and_models_that_are_wrong_are_said(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, program = tmp_path / "broken.gguf", tmp_path / "program"
    broken.write_bytes(tiny_model.read_bytes()[:100_000])
    program.write_bytes(b"\x7fELF, but no program")
    program.chmod(0o755)

    async def test(file: Path, name: str, why: str) -> None:
        coordinator = LlamaCppCoordinator(planned(file, []), program=name)
        with pytest.raises(CoordinatorFailed, match=why):
            await coordinator.start(AMPLE)
        assert not coordinator.alive
        await coordinator.stop()

    llama = llama_server()
    monkeypatch.delenv("LLAMA_SERVER", raising=False)
    run(lambda: test(tiny_model, "no-such-server", "there is no program 'no-such-server'"))
    run(lambda: test(tiny_model, str(program), "cannot be started: Exec format error"))
    run(lambda: test(tmp_path / "none.gguf", llama, "failed to open|failed to load"))
    run(lambda: test(broken, llama, "corrupted or incomplete"))


def test_a_start_that_takes_too_long_leaves_nothing(tmp_path: Path, tiny_model: Path) -> None:
    async def test() -> None:
        coordinator = LlamaCppCoordinator(planned(tiny_model, []), program=str(slow))
        with pytest.raises(CoordinatorFailed, match=r"does not answer within 5 s"):
            await coordinator.start(5.0)
        assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()

    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 1000\n")
    slow.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LLAMA_SERVER", raising=False)
        run(test)


def test_stopping_while_it_starts_leaves_nothing(tiny_model: Path) -> None:
    async def test() -> None:
        coordinator = LlamaCppCoordinator(planned(tiny_model, []), program=llama_server(), base_port=free_port())
        start = asyncio.create_task(coordinator.start(AMPLE))
        await asyncio.sleep(0.05)
        await coordinator.stop()
        with pytest.raises(CoordinatorFailed, match="was stopped"):
            await start
        assert coordinator.pid == 0

    run(test)


@asynccontextmanager
async def old_server() -> AsyncIterator[str]:
    """What greets as an RPC server of a build long ago."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (size,) = struct.unpack("<xQ", await reader.readexactly(9))
        await reader.readexactly(size)
        writer.write(struct.pack("<Q", 28) + bytes([3, 0, 0]) + bytes(25))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", port := free_port()):
        yield f"127.0.0.1:{port}"


def test_a_server_of_another_build_is_said_to_be_one(tiny_model: Path) -> None:
    async def test() -> None:
        async with old_server() as endpoint:
            coordinator = LlamaCppCoordinator(planned(tiny_model, [endpoint]), program=llama_server())
            with pytest.raises(CoordinatorFailed, match=r"version mismatch: .* speaks version 3\.0\.0") as failed:
                await coordinator.start(AMPLE)
            assert failed.value.suspects == (endpoint,)

    run(test)
