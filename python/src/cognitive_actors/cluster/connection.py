"""Connecting to Ray: idempotent, locked, with a deadline."""

from __future__ import annotations

import os
import socket
import threading
import time

import ray

from .settings import EMBEDDED, ConnectionSettings, resolve

#: Enough for the chunks in flight; Ray would otherwise take 30 % of the machine's memory.
EMBEDDED_OBJECT_STORE = 256 * 1024 * 1024

_lock = threading.Lock()


class ClusterError(RuntimeError):
    """Ray cannot be reached, or not as asked. The message says where it was looked for and what to write."""


def ensure_ray_initialized(
    address: str | None = None,
    namespace: str | None = None,
    *,
    allow_embedded: bool = True,
    num_cpus: int | None = None,
    deadline: float = 60.0,
) -> ConnectionSettings:
    """Connect this process to Ray unless it is connected already, and say to what.

    Settings are resolved as :mod:`cognitive_actors.cluster.settings` describes. Safe to call from several threads
    and any number of times. num_cpus: of an embedded Ray (all cores by default); deadline: seconds to keep trying.
    Raises ClusterError if no cluster is named or reachable, or if this process is connected in another namespace.
    """
    with _lock:
        if ray.is_initialized():
            return _check_live(namespace)
        settings = resolve(address, namespace, os.environ, node_here=_node_here(), allow_embedded=allow_embedded)
        if settings is None:
            raise ClusterError(
                "no Ray cluster is named; pass --address, set RAY_ADDRESS, or start one with `ray start --head`"
            )
        _connect(settings, num_cpus, deadline)
        return settings


def get_ray_namespace() -> str:
    """The namespace of the live connection. Raises ClusterError where there is none."""
    if not ray.is_initialized():
        raise ClusterError("this process is not connected to Ray; call ensure_ray_initialized() first")
    return str(ray.get_runtime_context().namespace)


def _node_here() -> bool:
    """Whether ``ray start`` left the address of a node on this machine, and that node still listens.

    An embedded Ray of another process leaves no such file: it is that process' own and must not be joined.
    """
    from ray._private.utils import read_ray_address

    host, _, port = (read_ray_address() or "").rpartition(":")
    if not host or not port.isdecimal():
        return False
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1.0):
            return True
    except OSError:
        return False


def _check_live(asked: str | None) -> ConnectionSettings:
    live = get_ray_namespace()
    if asked is not None and asked != live:
        raise ClusterError(
            f"this process is connected to Ray in namespace {live!r}, not {asked!r};"
            " call ray.shutdown() first, or ask for the namespace that is in use"
        )
    return ConnectionSettings(ray.get_runtime_context().gcs_address, live, "the live connection")


def _connect(settings: ConnectionSettings, num_cpus: int | None, deadline: float) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    end, pause, error = time.monotonic() + deadline, 0.5, None
    while True:
        try:
            if settings.address == EMBEDDED:
                ray.init(
                    address="local",
                    namespace=settings.namespace,
                    num_cpus=num_cpus,
                    include_dashboard=False,
                    object_store_memory=EMBEDDED_OBJECT_STORE,
                    log_to_driver=False,
                    logging_level="error",
                )
            else:
                ray.init(
                    address=settings.address,
                    namespace=settings.namespace,
                    log_to_driver=False,
                    logging_level="error",
                )
            return
        except (ConnectionError, TimeoutError, RuntimeError) as failure:
            error = failure
            ray.shutdown()
        if time.monotonic() + pause > end:
            raise ClusterError(
                f"no Ray answers at {settings.address!r} (from {settings.source}) within {deadline:g} s: {error};"
                " check that the head is up, that its port is open to this machine and that the token matches"
            ) from error
        time.sleep(pause)
        pause = min(2 * pause, 5.0)
