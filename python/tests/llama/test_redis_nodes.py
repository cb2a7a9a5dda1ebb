"""RPC servers in a real Redis, with the keys and the fields that SOLLOL 0.9.66 reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from node_reports import device, reported
from redis_server import redis_server

from cognitive_actors.llama import redis_nodes
from cognitive_actors.llama.notices import Notices
from cognitive_actors.llama.redis_nodes import TIME_TO_LIVE, RedisNodes

redis = pytest.importorskip("redis")

GPU, CPU = device("10.0.0.1:50052"), device("gpu-1.example:50053", "CPU", None)
REPORT = reported("a", None, GPU, CPU)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is slow to sync is no Redis that is away."""
    monkeypatch.setattr(redis_nodes, "_PATIENCE", 30.0)


def written(client: Any) -> dict[str, Any]:
    return {key.decode(): json.loads(client.get(key)) for key in client.keys("*")}


def test_each_rpc_server_has_a_key_that_ends_with_it(tmp_path: Path) -> None:
    said: list[str] = []
    with redis_server(tmp_path, password="secret/word") as place:
        nodes = RedisNodes(f"redis://{place}", "secret/word", Notices(said.append))
        nodes.publish(REPORT)
        client = redis.Redis.from_url(f"redis://{place}", password="secret/word")
        assert written(client) == {
            "sollol:rpc:node:10.0.0.1:50052": {
                "has_gpu": True,
                "gpu_devices": ["cuda:0"],
                "gpu_vram_mb": [65536],
                "gpu_names": ["NVIDIA H100"],
                "cpu_ram_mb": 52428,
                "device_config": "cuda:0",
                "memory_config": "65536",
                "total_parallel_workers": 1,
            },
            "sollol:rpc:node:gpu-1.example:50053": {
                "has_gpu": False,
                "gpu_devices": [],
                "gpu_vram_mb": [],
                "gpu_names": [],
                "cpu_ram_mb": 52428,
                "device_config": "cpu",
                "memory_config": "65536",
                "total_parallel_workers": 1,
            },
        }
        for key in client.keys("*"):
            assert 0 < client.ttl(key) <= TIME_TO_LIVE
        # The next report takes its place, with another 30 s.
        client.expire("sollol:rpc:node:10.0.0.1:50052", 5)
        nodes.publish(REPORT)
        assert client.ttl("sollol:rpc:node:10.0.0.1:50052") > 5
        client.close()
    assert said == []


def test_a_redis_that_is_away_is_said_once() -> None:
    said: list[str] = []
    nodes = RedisNodes("redis://somebody:secret@127.0.0.1:1", None, Notices(said.append))
    for _ in range(2):
        nodes.publish(REPORT)
    assert len(said) == 1 and said[0].startswith("redis://...@127.0.0.1:1: RPC servers are not written: ")
    assert "secret" not in said[0]


def test_each_change_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    with redis_server(tmp_path) as place:
        nodes = RedisNodes(f"redis://somebody:secret@{place}", None, Notices(said.append))
        client = redis.Redis.from_url(f"redis://{place}")
        for _ in range(2):
            for _ in range(2):
                nodes.publish(REPORT)
            assert written(client) == {}
            client.execute_command("ACL", "SETUSER", "somebody", "on", ">secret", "~*", "+@all")
            for _ in range(2):
                nodes.publish(REPORT)
            assert len(written(client)) == 2
            # It ends the connections of that user as well.
            client.acl_deluser("somebody")
            client.flushdb()
        client.close()
    assert len(said) == 4 and said[1] == said[3] == f"redis://...@{place}: RPC servers are written again"
    assert said[0].startswith(f"redis://...@{place}: RPC servers are not written: ") and "secret" not in said[0]


def test_a_password_that_is_wrong_is_said_and_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    with redis_server(tmp_path, password="right") as place:
        RedisNodes(f"redis://{place}", "wrong", Notices(said.append)).publish(REPORT)
    assert len(said) == 1 and "check the address, that Redis answers, and the password" in said[0]


def test_a_node_without_rpc_servers_asks_nobody() -> None:
    said: list[str] = []
    RedisNodes("redis://127.0.0.1:1", None, Notices(said.append)).publish(reported("a"))
    assert said == []


@pytest.mark.parametrize("url", ["10.0.0.1:6379", "http://10.0.0.1", "redis://user:pass/word@host:port"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no URL of Redis; write redis://HOST:PORT") as raised:
        RedisNodes(url, None, Notices(print))
    assert "pass/word" not in str(raised.value)
