"""RPC servers as SOLLOL looks for them in Redis.

One key each, ``sollol:rpc:node:HOST:PORT``, with the JSON that its ``scripts/register_gpu_node.py`` writes (SOLLOL
0.9.66): MiB, of which a fifth is left to the system, and ``gpu_vram_mb`` and ``cpu_ram_mb`` of the node that its
routing adds up. SOLLOL itself asks for port 50052 only.
"""

from __future__ import annotations

import json
from typing import Any

from ..files.store.location_text import without_password
from .notices import Notices
from .reports import DeviceReport, NodeReport

__all__ = ["TIME_TO_LIVE", "RedisNodes", "announcement", "key_of"]

#: Seconds for which a key is there without another report.
TIME_TO_LIVE = 30
#: Seconds to wait for a connection and for an answer: less than what is between two reports.
_PATIENCE = 2.0
_MIB = 1 << 20


class RedisNodes:
    """One database of a Redis server, into which RPC servers are written.

    url: ``redis://`` or ``rediss://``; password: one in the URL takes its place. Raises ValueError for a URL that is
    none, and where the client is not installed.
    """

    def __init__(self, url: str, password: str | None, notices: Notices) -> None:
        self.where = without_password(url)
        self._notices = notices
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ValueError(f"{self.where}: the Redis client is missing; install cognitive-actors[redis]") from None
        self._errors: Any = redis.exceptions.RedisError
        # The next report is the next try: the client's own ones would take as long as is between two.
        settings: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": _PATIENCE}
        try:
            self._client: Any = redis.Redis.from_url(
                url, password=password, socket_connect_timeout=_PATIENCE, **settings
            )
        except ValueError:
            # Chained or quoted, the client's error would show parts of a password that holds "/" or ":".
            raise ValueError(
                f"{self.where} is no URL of Redis; write redis://HOST:PORT/DATABASE or rediss://...,"
                " the special characters of a password as %XX"
            ) from None

    def publish(self, report: NodeReport) -> None:
        """Write the node's RPC servers for the next 30 s. A server that is away is said once, and nothing else."""
        if not report.devices:
            return
        try:
            with self._client.pipeline(transaction=False) as batch:
                for device in report.devices:
                    batch.set(key_of(device), json.dumps(announcement(report, device)), ex=TIME_TO_LIVE)
                batch.execute()
        except self._errors as error:
            remedy = "check the address, that Redis answers, and the password"
            why = f"{self.where}: RPC servers are not written: {error}; {remedy}"
            self._notices.wrong("redis", why, type(error).__name__)
        else:
            self._notices.well("redis", f"{self.where}: RPC servers are written again")


def key_of(device: DeviceReport) -> str:
    """The key of a device's RPC server."""
    return f"sollol:rpc:node:{device.endpoint}"


def announcement(report: NodeReport, device: DeviceReport) -> dict[str, Any]:
    """What SOLLOL reads of an RPC server, which here offers one device."""
    ram, memory = _usable(report.total), _usable(device.total)
    on_gpu = device.gpu is not None
    # "cuda:0", where llama.cpp has CUDA0.
    name = device.name.lower().replace("cuda", "cuda:")
    return {
        "has_gpu": on_gpu,
        "gpu_devices": [name] if on_gpu else [],
        "gpu_vram_mb": [memory] if on_gpu else [],
        "gpu_names": [device.gpu] if on_gpu else [],
        "cpu_ram_mb": ram,
        "device_config": name,
        "memory_config": str(memory),
        "total_parallel_workers": 1,
    }


def _usable(size: int) -> int:
    # As SOLLOL rounds it: MiB first.
    return size // _MIB * 4 // 5
