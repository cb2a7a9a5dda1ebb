"""Pools as actors on an embedded Ray, over the real llama.cpp."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from llama_programs import RpcServer, llama_server, rpc_servers
from planned import AMPLE, asked, planned, said
from ports import free_port
from waiting import until

from cognitive_actors.llama.errors import CoordinatorFailed, DeadlineExceeded, PoolBusy, RequestRefused
from cognitive_actors.llama.events import Done, Failure, Loaded, Status
from cognitive_actors.llama.pool import Pool, ShardedModelPool

pytestmark = pytest.mark.usefixtures("embedded_ray")

#: Tokens that take several times what a test gives the next request, and a context that has room for them.
ENDLESS, ROOM = 120_000, 1 << 17
SOON = 30.0


@contextmanager
def pooled(file: Path, servers: Sequence[RpcServer] = (), **options: Any) -> Iterator[tuple[Any, Loaded]]:
    """A pool that has its model, and what it said of that; ended with the test."""
    environment = {"env_vars": {"LLAMA_SERVER": llama_server()}}
    actor: Any = ShardedModelPool
    # A check of a busy machine is not to fail a pool by the way.
    options = {"base_port": free_port(), "check_seconds": AMPLE} | options
    pool = actor.options(runtime_env=environment).remote(planned(file, servers, ROOM), **options)
    try:
        yield pool, ray.get(pool.start.remote(AMPLE), timeout=AMPLE)
    finally:
        ray.kill(pool)


def streamed(pool: Any, tokens: int, seconds: float = AMPLE) -> Any:
    return pool.stream.options(num_returns="streaming").remote(asked(tokens), seconds)


def status(pool: Any) -> Status:
    found: Status = ray.get(pool.status.remote(), timeout=AMPLE)
    return found


def test_it_answers_whole_and_in_parts(tmp_path: Path, tiny_model: Path) -> None:
    with rpc_servers(tmp_path, 2) as servers, pooled(tiny_model, servers) as (pool, loaded):
        assert loaded.compute > 0
        assert loaded.node == ray.get_runtime_context().get_node_id()
        assert Path(f"/proc/{loaded.pid}").exists()
        *chunks, done = ray.get(list(streamed(pool, 12)), timeout=AMPLE)
        assert isinstance(done, Done)
        assert (done.finish_reason, done.usage["completion_tokens"]) == ("length", 12)
        whole = ray.get(pool.chat.remote(asked(12), AMPLE), timeout=AMPLE)
        assert whole["choices"][0]["message"]["content"] == said(chunks)
        ray.get(pool.health.remote(AMPLE), timeout=AMPLE)
        with pytest.raises(RequestRefused):
            ray.get(pool.chat.remote({"messages": 3}, AMPLE), timeout=AMPLE)
        assert status(pool) == Status(0, 0, 2, None)
        watch = pool.wait_failed.remote()
        ray.get(pool.stop.remote(), timeout=AMPLE)
        assert ray.get(watch, timeout=AMPLE) is None
        assert not Path(f"/proc/{loaded.pid}").exists()


def test_one_at_a_time_some_wait_and_the_rest_are_turned_away(tiny_model: Path) -> None:
    with pooled(tiny_model, waiting=2) as (pool, _):
        first = streamed(pool, ENDLESS)
        ray.get(next(first), timeout=AMPLE)
        waiting = [streamed(pool, ENDLESS), pool.chat.remote(asked(), 2 * SOON)]
        until(lambda: status(pool).waiting == 2, "the wait of two")
        for late in (pool.chat.remote(asked(), AMPLE), next(streamed(pool, 4))):
            with pytest.raises(PoolBusy, match="2 requests wait already"):
                ray.get(late, timeout=AMPLE)
        # Who waits in vain or leaves makes room, and who leaves its turn gives it to the next.
        ray.cancel(first)
        ray.get(next(waiting[0]), timeout=AMPLE)
        ray.cancel(waiting[0])
        assert ray.get(waiting[1], timeout=AMPLE)["usage"]["completion_tokens"] == 8
        until(lambda: status(pool) == Status(0, 0, 1, None), "the end of all")


def test_the_deadline_counts_from_arrival(tiny_model: Path) -> None:
    with pooled(tiny_model) as (pool, _):
        first = streamed(pool, ENDLESS)
        ray.get(next(first), timeout=AMPLE)
        with pytest.raises(DeadlineExceeded, match=r"the requests before took 0\.3 s"):
            ray.get(pool.chat.remote(asked(), 0.3), timeout=AMPLE)
        with pytest.raises(DeadlineExceeded, match=r"the requests before took 0\.2 s"):
            ray.get(pool.health.remote(0.2), timeout=AMPLE)
        assert status(pool) == Status(1, 0, 0, None)
        ray.cancel(first)
        # The check that follows has its turn first.
        until(lambda: status(pool).in_flight == 0, "the end of what was under way")
        with pytest.raises(DeadlineExceeded, match=r"the answer was not complete within 0\.5 s"):
            ray.get(pool.chat.remote(asked(ENDLESS), 0.5), timeout=AMPLE)
        # It was ended at llama-server as well.
        assert ray.get(pool.chat.remote(asked(), SOON), timeout=AMPLE)["choices"]


def test_a_pool_fails_once_and_for_all_who_ask(tmp_path: Path, tiny_model: Path) -> None:
    with rpc_servers(tmp_path, 2) as servers, pooled(tiny_model, servers) as (pool, loaded):
        watch = pool.wait_failed.remote()
        under_way = streamed(pool, ENDLESS)
        ray.get(next(under_way), timeout=AMPLE)
        waiting = pool.chat.remote(asked(), AMPLE)
        until(lambda: status(pool).waiting == 1, "the wait of one")
        servers[1].kill()
        failure = ray.get(watch, timeout=AMPLE)
        assert isinstance(failure, Failure)
        assert failure.suspects == (servers[1].endpoint,)
        with pytest.raises(CoordinatorFailed) as failed:
            ray.get(list(under_way), timeout=AMPLE)
        assert failed.value.suspects == failure.suspects
        for request in (waiting, pool.chat.remote(asked(), AMPLE), next(streamed(pool, 4)), pool.health.remote(1)):
            with pytest.raises(CoordinatorFailed) as failed:
                ray.get(request, timeout=AMPLE)
            assert (failed.value.why, failed.value.suspects) == failure
        assert status(pool).failed == failure.why
        assert not Path(f"/proc/{loaded.pid}").exists()


def test_an_idle_pool_finds_out_by_itself(tmp_path: Path, tiny_model: Path) -> None:
    with rpc_servers(tmp_path, 1) as servers, pooled(tiny_model, servers, check_every=0.2) as (pool, _):
        watch = pool.wait_failed.remote()
        # A look now and then fails nobody who is well.
        assert ray.wait([watch], timeout=1)[0] == []
        servers[0].kill()
        assert ray.get(watch, timeout=AMPLE).suspects == (servers[0].endpoint,)


def test_a_request_that_meets_a_hung_server_ends_the_pool(tmp_path: Path, tiny_model: Path) -> None:
    with (
        rpc_servers(tmp_path, 2) as servers,
        pooled(tiny_model, servers, check_every=1000.0, check_seconds=1.0) as (pool, _),
    ):
        servers[0].hang()
        watch = pool.wait_failed.remote()
        with pytest.raises(DeadlineExceeded):
            ray.get(pool.chat.remote(asked(), 0.5), timeout=AMPLE)
        # The next waits for the look at what is wrong, and gets its result.
        with pytest.raises(CoordinatorFailed) as failed:
            ray.get(pool.chat.remote(asked(), AMPLE), timeout=AMPLE)
        assert failed.value.suspects == ray.get(watch, timeout=AMPLE).suspects == (servers[0].endpoint,)


def test_its_server_ends_with_the_actor(tiny_model: Path) -> None:
    with pooled(tiny_model) as (pool, loaded):
        ray.kill(pool)
        until(lambda: not Path(f"/proc/{loaded.pid}").exists(), "the end of the server")


def test_a_start_in_vain_is_said(tmp_path: Path, tiny_model: Path) -> None:
    with rpc_servers(tmp_path, 1) as servers:
        servers[0].kill()
        with pytest.raises(CoordinatorFailed) as failed, pooled(tiny_model, servers):
            pass
        assert failed.value.suspects == (servers[0].endpoint,)


@pytest.mark.parametrize("signalled", [signal.SIGKILL, signal.SIGSTOP])
def test_a_pool_needs_no_ray(tiny_model: Path, signalled: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        pool = Pool(planned(tiny_model, []), base_port=free_port(), check_every=0.1, check_seconds=0.5)
        try:
            loaded = await pool.start(AMPLE)
            os.kill(loaded.pid, signalled)
            failure = await asyncio.wait_for(pool.wait_failed(), AMPLE)
            assert failure is not None
            assert failure.suspects == ()
        finally:
            await pool.stop()

    monkeypatch.setenv("LLAMA_SERVER", llama_server())
    asyncio.run(test())
