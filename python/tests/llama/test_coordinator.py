"""A coordinator with the real llama-server and RPC servers: what it answers, and what it says when something breaks."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.error
import urllib.request
from contextlib import aclosing
from pathlib import Path

import pytest
from llama_programs import llama_server, rpc_servers
from planned import AMPLE, CONTEXT, asked, planned, read, run, said, started

from cognitive_actors.llama import completions
from cognitive_actors.llama import coordinator as coordinators
from cognitive_actors.llama.errors import CoordinatorFailed, DeadlineExceeded, RequestRefused

#: Tokens that take several times what a test gives the next request, and a context that has room for them.
ENDLESS, ROOM = 120_000, 1 << 17
SOON = 30.0


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greetings of servers that hang are not waited for longer than a test needs."""
    monkeypatch.setattr(coordinators, "HELLO", 6.0)


def test_it_answers_as_a_server_without_others_does(tmp_path: Path, tiny_model: Path) -> None:
    async def answers(endpoints: list[str]) -> list[str]:
        async with started(planned(tiny_model, endpoints), model="small") as coordinator:
            text, ends = await read(coordinator.stream(asked(24), AMPLE))
            (end,) = ends
            assert (end.finish_reason, end.usage["completion_tokens"]) == ("length", 24)
            whole = await coordinator.chat(asked(24), AMPLE)
            assert whole["choices"][0]["message"]["content"] == text
            assert whole["model"] == "small"
            assert coordinator.alive
            assert (coordinator.compute > 0) == bool(endpoints)
            return [text, whole["choices"][0]["message"]["content"]]

    async def test() -> None:
        alone = await answers([])
        for count in (1, 2):
            assert await answers([server.endpoint for server in servers[:count]]) == alone

    with rpc_servers(tmp_path, 2) as servers:
        run(test)


def test_counts_are_a_chunk_of_their_own_for_those_who_ask(tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, [])) as coordinator:
            for body, expected in ((asked(), 0), ({**asked(), "stream_options": {"include_usage": True}}, 1)):
                async with aclosing(coordinator.stream(body, AMPLE)) as events:
                    chunks = [event async for event in events if isinstance(event, bytes)]
                assert sum(b'"usage":' in chunk for chunk in chunks) == expected

    run(test)


def test_what_llama_server_refuses_is_said_and_harms_nobody(tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, [])) as coordinator:
            for body in ({"messages": [{"role": "user"}]}, asked(4, "long " * CONTEXT), {"messages": 3}):
                with pytest.raises(RequestRefused) as refused:
                    await read(coordinator.stream(body, AMPLE))
                assert refused.value.status >= 400
                with pytest.raises(RequestRefused, match=r"\w"):
                    await coordinator.chat(body, AMPLE)
            assert (await read(coordinator.stream(asked(), AMPLE)))[1]

    run(test)


def test_an_answer_with_huge_events_harms_nobody(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, [])) as coordinator:
            with pytest.raises(RequestRefused, match="more than 2048 bytes; ask for fewer probabilities"):
                await read(coordinator.stream({**asked(), "logprobs": True, "top_logprobs": 200}, AMPLE))
            await coordinator.check(AMPLE)

    monkeypatch.setattr(completions, "_AHEAD", 1024)
    run(test)


def test_who_leaves_or_comes_late_ends_the_work_on_its_answer(tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, [], ROOM)) as coordinator:
            with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
                await read(coordinator.stream(asked(ENDLESS), 0.3))
            # Behind it, this would not be answered in time.
            await coordinator.check(SOON)
            async with aclosing(coordinator.stream(asked(ENDLESS), AMPLE)) as events:
                assert isinstance(await anext(events), bytes)
            await coordinator.check(SOON)
            with pytest.raises(DeadlineExceeded):
                await coordinator.chat(asked(ENDLESS), 0.3)
            await coordinator.check(SOON)
            assert coordinator.alive

    run(test)


def test_an_rpc_server_that_dies_unseen_is_found_by_the_next_look(tmp_path: Path, tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, servers)) as coordinator:
            servers[1].kill()
            with pytest.raises(CoordinatorFailed, match="Remote RPC server crashed") as failed:
                await coordinator.check(AMPLE)
            assert failed.value.suspects == (servers[1].endpoint,)
            assert not coordinator.alive
            # From now on the same is said to everybody.
            told = await coordinator.failed()
            assert told is not None
            assert told.args == failed.value.args
            for again in (coordinator.check(1), coordinator.chat(asked(), 1), read(coordinator.stream(asked(), 1))):
                with pytest.raises(CoordinatorFailed) as later:
                    await again
                assert later.value.args == failed.value.args

    with rpc_servers(tmp_path, 2) as servers:
        run(test)


def test_an_answer_that_an_rpc_server_cuts_off_is_no_answer(tmp_path: Path, tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, servers, ROOM)) as coordinator:
            async with aclosing(coordinator.stream(asked(ENDLESS), AMPLE)) as events:
                assert isinstance(await anext(events), bytes)
                servers[0].kill()
                with pytest.raises(CoordinatorFailed, match="ended by SIGABRT") as failed:
                    async for event in events:
                        assert isinstance(event, bytes)
            assert failed.value.suspects == (servers[0].endpoint,)

    with rpc_servers(tmp_path, 2) as servers:
        run(test)


def test_an_rpc_server_that_hangs_costs_the_deadline_and_is_named(tmp_path: Path, tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, servers, ROOM)) as coordinator:
            servers[1].hang()
            with pytest.raises(DeadlineExceeded):
                await read(coordinator.stream(asked(ENDLESS), 0.5))
            with pytest.raises(CoordinatorFailed, match=r"computed no token within 0\.5 s") as failed:
                await coordinator.check(0.5)
            assert failed.value.suspects == (servers[1].endpoint,)
            assert not Path(f"/proc/{coordinator.pid}").exists()

    with rpc_servers(tmp_path, 2) as servers:
        run(test)


def test_a_llama_server_that_is_killed_is_at_fault_alone(tmp_path: Path, tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, servers, ROOM)) as coordinator:
            async with aclosing(coordinator.stream(asked(ENDLESS), AMPLE)) as events:
                await anext(events)
                os.kill(coordinator.pid, signal.SIGKILL)
                with pytest.raises(CoordinatorFailed, match="ended by SIGKILL") as failed:
                    async for _ in events:
                        pass
            assert failed.value.suspects == ()
        # Its servers are free for the next one.
        async with started(planned(tiny_model, servers)) as coordinator:
            await coordinator.check(AMPLE)

    with rpc_servers(tmp_path, 1) as servers:
        run(test)


def test_a_hung_llama_server_is_ended(tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, [])) as coordinator:
            os.kill(coordinator.pid, signal.SIGSTOP)
            with pytest.raises(CoordinatorFailed, match="computed no token") as failed:
                await coordinator.check(0.3)
            assert failed.value.suspects == ()
            assert not Path(f"/proc/{coordinator.pid}").exists()

    run(test)


def test_stopping_ends_what_is_under_way(tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, [], ROOM)) as coordinator:
            async with aclosing(coordinator.stream(asked(ENDLESS), AMPLE)) as events:
                await anext(events)
                await coordinator.stop()
                with pytest.raises(CoordinatorFailed, match="was stopped"):
                    async for _ in events:
                        pass
            assert not coordinator.alive
            assert await coordinator.failed() is None
            with pytest.raises(CoordinatorFailed, match="was stopped"):
                await coordinator.check(1)
            with pytest.raises(ValueError, match="make another"):
                await coordinator.start(1)

    run(test)


def test_others_on_the_machine_are_not_answered(tiny_model: Path) -> None:
    def ask(port: int) -> int:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        try:
            with urllib.request.urlopen(url, b'{"messages": []}', AMPLE) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            return refused.code

    async def test() -> None:
        async with started(planned(tiny_model, [])) as coordinator:
            assert await asyncio.to_thread(ask, coordinator.port) == 401
            arguments = Path(f"/proc/{coordinator.pid}/cmdline").read_text()
            surroundings = Path(f"/proc/{coordinator.pid}/environ").read_text().split("\0")
            (key,) = [each.partition("=")[2] for each in surroundings if each.startswith("LLAMA_API_KEY=")]
            assert len(key) == 64
            assert key not in arguments

    run(test)


def test_its_log_never_stops_it(tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, [])) as coordinator:
            for _ in range(200):
                await coordinator.chat(asked(1), AMPLE)

    run(test)


def test_it_ends_with_the_process_that_started_it(tiny_model: Path) -> None:
    async def test() -> None:
        # As an actor is: the loop in a thread beside the main one.
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PARENT, llama_server(), str(tiny_model)), stdout=asyncio.subprocess.PIPE
        )
        assert parent.stdout is not None
        pid = int(await parent.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
        await parent.wait()
        while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
            await asyncio.sleep(0.02)

    run(test)


PARENT = f"""
import asyncio, sys, threading
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from pathlib import Path
from planned import planned
from cognitive_actors.llama.coordinator import LlamaCppCoordinator

async def main():
    coordinator = LlamaCppCoordinator(planned(Path(sys.argv[2]), []), program=sys.argv[1])
    await coordinator.start(60)
    print(coordinator.pid, flush=True)
    await asyncio.sleep(1000)

threading.Thread(target=lambda: asyncio.run(main())).start()
"""


def test_chunks_are_json_with_the_text(tiny_model: Path) -> None:
    async def test() -> None:
        async with started(planned(tiny_model, [])) as coordinator:
            async with aclosing(coordinator.stream(asked(6), AMPLE)) as events:
                chunks = [event async for event in events if isinstance(event, bytes)]
            whole = await coordinator.chat(asked(6), AMPLE)
            assert said(chunks) == whole["choices"][0]["message"]["content"]
            assert len(chunks) > 2

    run(test)
