"""The router on three nodes of a real Ray, with the real llama.cpp: where models go, and what happens when things end.

Each node is a raylet of its own on this machine; what nodes report is chosen so that layers must go to RPC servers.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from llama_cluster import MODEL, Machines, machines
from processes import descendants
from ray._private.state import actors
from waiting import until

from cognitive_actors.llama import Done, RayHybridRouter
from cognitive_actors.llama.errors import CoordinatorFailed, DeadlineExceeded, ModelUnknown, PoolBusy
from cognitive_actors.llama.reservation import holdings
from cognitive_actors.placement import DoesNotFit, ModelUnfit

QUESTION = [{"role": "user", "content": "abc"}]
#: Always the same answer, as long as it may be.
GREEDY: dict[str, Any] = {"temperature": 0.0, "ignore_eos": True}


@pytest.fixture(scope="module")
def cluster(embedded_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Nodes north, east and south."""
    with machines(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@contextmanager
def routing(**options: Any) -> Iterator[RayHybridRouter]:
    router = RayHybridRouter(**options)
    try:
        yield router
    finally:
        router.close()


def text_of(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])


def told(events: list[bytes | Done]) -> str:
    chunks = [json.loads(event) for event in events if not isinstance(event, Done)]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def servers() -> list[int]:
    """Processes of llama-server below this one."""
    return [pid for pid, command in descendants(os.getpid()).items() if "--alias" in command]


def test_layers_go_where_they_fit_and_the_answer_is_the_same(cluster: Machines) -> None:
    cluster.report()
    with routing() as router:
        answer = router.chat(MODEL, QUESTION, max_tokens=20, **GREEDY)
        events = list(router.stream(MODEL, QUESTION, max_tokens=20, **GREEDY))
        (pool,) = router.pools
        assert router.rpc_backends == sorted(cluster.endpoints.values())
    assert isinstance(events[-1], Done)
    assert events[-1].finish_reason == "length"
    assert sum(isinstance(event, Done) for event in events) == 1
    assert told(events) == text_of(answer) == cluster.alone(QUESTION, max_tokens=20, **GREEDY)
    assert pool["coordinator"] == "north"
    assert set(pool["layers"]) == {cluster.endpoints["east"], cluster.endpoints["south"]}
    assert pool["port"] >= 18080
    until(lambda: not servers(), "the end of the servers")


def test_an_rpc_server_that_is_killed_while_idle_is_done_without(cluster: Machines) -> None:
    cluster.report(rooms={"east": 16, "south": 16})
    with routing() as router:
        before = text_of(router.chat(MODEL, QUESTION, max_tokens=10, **GREEDY))
        (endpoint,) = router.pools[0]["layers"]
        name = cluster.name_of(endpoint)
        cluster.kill_server(name)
        assert text_of(router.chat(MODEL, QUESTION, max_tokens=10, **GREEDY)) == before
        assert endpoint not in router.pools[0]["layers"]


def test_a_stream_whose_rpc_server_is_killed_says_so_and_the_next_is_answered(cluster: Machines) -> None:
    cluster.report(rooms={"east": 16, "south": 16})
    with routing() as router:
        events = router.stream(MODEL, QUESTION, max_tokens=400, **GREEDY)
        next(events)
        (endpoint,) = router.pools[0]["layers"]
        name = cluster.name_of(endpoint)
        cluster.kill_server(name)
        with pytest.raises(CoordinatorFailed) as failed:
            list(events)
        assert endpoint in failed.value.suspects
        # The node of the coordinator has done nothing.
        assert cluster.failures("north") == 0
        assert text_of(router.chat(MODEL, QUESTION, max_tokens=10, **GREEDY))
        assert endpoint not in router.pools[0]["layers"]


def test_an_rpc_server_that_hangs_is_done_without(cluster: Machines) -> None:
    cluster.report(rooms={"east": 16, "south": 16})
    with routing() as router:
        router.chat(MODEL, QUESTION, max_tokens=2)
        (endpoint,) = router.pools[0]["layers"]
        name = cluster.name_of(endpoint)
        with cluster.hung_server(name):
            with pytest.raises(DeadlineExceeded):
                router.chat(MODEL, QUESTION, seconds=2.0, max_tokens=10)
            assert router.chat(MODEL, QUESTION, seconds=120.0, max_tokens=10)["choices"]
            assert endpoint not in router.pools[0]["layers"]


def test_a_coordinator_that_is_killed_is_begun_anew(cluster: Machines) -> None:
    cluster.report()
    with routing() as router:
        before = text_of(router.chat(MODEL, QUESTION, max_tokens=10, **GREEDY))
        (pid,) = servers()
        os.kill(pid, signal.SIGKILL)
        assert text_of(router.chat(MODEL, QUESTION, max_tokens=10, **GREEDY)) == before
        # Nobody needs to ask for it.
        (pid,) = servers()
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in servers() and servers() and router.pools, "a pool in its place")


def test_of_two_routers_one_has_the_servers(cluster: Machines) -> None:
    cluster.report(coordinators=("north", "south"), rooms={"north": 0, "east": 16, "south": 0})
    with routing() as one, routing() as other:
        one.chat(MODEL, QUESTION, max_tokens=2)
        with pytest.raises(DoesNotFit, match="leased"):
            other.chat(MODEL, QUESTION, max_tokens=2)
        one.release(MODEL)
        other.chat(MODEL, QUESTION, max_tokens=2)
        with pytest.raises(DoesNotFit, match="leased"):
            one.chat(MODEL, QUESTION, max_tokens=2)


def test_two_routers_that_ask_at_once_never_share_a_server(cluster: Machines) -> None:
    cluster.report(coordinators=("north", "south"), rooms={"north": 0, "east": 16, "south": 0})
    with routing() as one, routing() as other:
        outcomes: list[str] = []

        def ask(router: RayHybridRouter) -> None:
            try:
                router.chat(MODEL, QUESTION, max_tokens=2)
                outcomes.append("answered")
            except (DoesNotFit, CoordinatorFailed) as error:
                outcomes.append(type(error).__name__)

        threads = [threading.Thread(target=ask, args=(router,)) for router in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes)[-1] == "answered" and len(set(outcomes)) == 2, outcomes
        assert len(servers()) == 1


def test_what_fits_nowhere_says_what_each_node_lacks(cluster: Machines) -> None:
    cluster.report(rooms={"east": 0, "south": 0})
    with routing() as router, pytest.raises(DoesNotFit) as refused:
        router.chat(MODEL, QUESTION)
    assert set(refused.value.shortfalls) == {"north", "east", "south"}
    assert (refused.value.shortfalls["north"] or 0) >= 1
    assert not servers()


def test_a_coordinator_that_must_be_here_is_nowhere_else(cluster: Machines) -> None:
    cluster.report()
    with routing(enable_remote_coordinator=False) as router, pytest.raises(DoesNotFit, match="is to run elsewhere"):
        router.chat(MODEL, QUESTION)


def test_layers_that_must_not_be_distributed_are_not(cluster: Machines) -> None:
    cluster.report()
    with routing(enable_distributed=False) as router:
        assert router.rpc_backends == []
        with pytest.raises(DoesNotFit):
            router.chat(MODEL, QUESTION)
        cluster.report(roomy=("north",))
        router.chat(MODEL, QUESTION, max_tokens=2)
        assert router.pools[0]["layers"] == {}


def test_only_the_servers_that_are_named_are_used(cluster: Machines) -> None:
    cluster.report(rooms={"east": 16, "south": 16})
    for name in ("east", "south"):
        with routing(rpc_backends=[cluster.endpoints[name]], auto_discover_rpc=False) as router:
            router.chat(MODEL, QUESTION, max_tokens=2)
            assert list(router.pools[0]["layers"]) == router.rpc_backends == [cluster.endpoints[name]]


def test_a_model_makes_room_for_another(cluster: Machines) -> None:
    cluster.report(rooms={"east": 16, "south": 16})
    with routing(num_pools=2) as router:
        router.chat(MODEL, QUESTION, max_tokens=2)
        router.chat("other", QUESTION, max_tokens=2)
        # There is one slot for a coordinator on the one node that has the files.
        assert [pool["model"] for pool in router.pools] == ["other"]


def test_a_model_that_works_makes_no_room(cluster: Machines) -> None:
    cluster.report(rooms={"east": 16, "south": 16})
    with routing() as router:
        events = router.stream(MODEL, QUESTION, max_tokens=400, **GREEDY)
        next(events)
        with pytest.raises(PoolBusy):
            router.chat("other", QUESTION, max_tokens=2)
        assert isinstance(list(events)[-1], Done)


def test_a_stream_that_is_closed_frees_its_pool(cluster: Machines) -> None:
    cluster.report()
    with routing(waiting=1) as router:
        for _ in range(4):
            events = router.stream(MODEL, QUESTION, max_tokens=400, **GREEDY)
            next(events)
            events.close()
        assert router.chat(MODEL, QUESTION, max_tokens=2, seconds=300)["choices"]


def test_who_must_wait_behind_too_many_is_told(cluster: Machines) -> None:
    cluster.report()
    with routing(waiting=1) as router:
        router.chat(MODEL, QUESTION, max_tokens=2)
        streams = [router.stream(MODEL, QUESTION, max_tokens=400, **GREEDY)]
        next(streams[0])
        outcomes: list[str] = []

        def ask() -> None:
            try:
                router.chat(MODEL, QUESTION, max_tokens=100, **GREEDY)
                outcomes.append("answered")
            except PoolBusy:
                outcomes.append("busy")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        streams[0].close()
        assert {"answered", "busy"} == set(outcomes)


def test_models_that_cannot_be_are_refused_in_words(cluster: Machines) -> None:
    cluster.report()
    with routing() as router:
        with pytest.raises(ModelUnknown, match="'another'"):
            router.chat("another", QUESTION)
        with pytest.raises(ModelUnfit, match="not known"):
            router.chat("unfit", QUESTION)


def test_a_router_that_is_killed_gives_its_servers_back(cluster: Machines) -> None:
    cluster.report(rooms={"east": 16})
    shared = RayHybridRouter(name="a-router")
    try:
        shared.chat(MODEL, QUESTION, max_tokens=2)
        pid = process_of_router()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not servers(), "the end of the servers")
        assert shared.chat(MODEL, QUESTION, max_tokens=2, seconds=300)["choices"]
        assert RayHybridRouter(name="a-router").pools == shared.pools
    finally:
        shared.close()
        ray.kill(shared._router)


def test_a_router_of_its_own_is_where_its_process_is_and_comes_back_there(cluster: Machines) -> None:
    cluster.report(rooms={"east": 16})
    with routing() as router:
        before = text_of(router.chat(MODEL, QUESTION, max_tokens=5, **GREEDY))
        pid = process_of_router()
        assert node_of(router) == ray.get_runtime_context().get_node_id()
        os.kill(pid, signal.SIGKILL)
        assert text_of(router.chat(MODEL, QUESTION, max_tokens=5, seconds=300, **GREEDY)) == before
        assert node_of(router) == ray.get_runtime_context().get_node_id()


def test_a_closed_router_holds_nothing_any_more(cluster: Machines) -> None:
    """Not even what it had before it was started again."""
    cluster.report(rooms={"east": 16})
    with routing() as router:
        router.chat(MODEL, QUESTION, max_tokens=2)
        pid = process_of_router()
        assert asyncio.run(holdings()).leased
        os.kill(pid, signal.SIGKILL)
    assert not asyncio.run(holdings()).leased


def process_of_router() -> int:
    """The one there is. That of the test before may take a moment to end."""

    def routers() -> list[int]:
        return [pid for pid, command in descendants(os.getpid()).items() if command.startswith("ray::Router")]

    until(lambda: len(routers()) == 1, "the end of all routers but one")
    return routers()[0]


def node_of(router: RayHybridRouter) -> str:
    return str(actors(router._router._actor_id.hex())["Address"]["NodeID"])


def test_a_node_that_is_lost_is_done_without(cluster: Machines, tmp_path: Path) -> None:
    """The last, since a raylet does not come back."""
    cluster.report(coordinators=("north", "south"), rooms={"east": 16})
    with routing() as router:
        before = text_of(router.chat(MODEL, QUESTION, max_tokens=10, **GREEDY))
        lost = router.pools[0]["coordinator"]
        cluster.raylets[lost].kill()
        cluster.report(coordinators=tuple({"north", "south"} - {lost}), rooms={"east": 16}, without=lost)
        assert text_of(router.chat(MODEL, QUESTION, max_tokens=10, seconds=300, **GREEDY)) == before
        assert router.pools[0]["coordinator"] != lost
