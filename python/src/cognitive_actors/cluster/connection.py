"""Connecting to Ray: idempotent, locked, with a deadline."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path

import ray

from .settings import EMBEDDED, ConnectionSettings, resolve

#: Enough for the chunks in flight; Ray would otherwise take 30 % of the machine's memory.
EMBEDDED_OBJECT_STORE = 256 * 1024 * 1024

_lock = threading.Lock()
_connected_to: str | None = None


class ClusterError(RuntimeError):
    """Ray cannot be reached, or not as asked. The message says where it was looked for and what to write."""


def ensure_ray_initialized(
    address: str | None = None,
    namespace: str | None = None,
    *,
    allow_embedded: bool = True,
    num_cpus: int | None = None,
    resources: Mapping[str, float] | None = None,
    deadline: float = 60.0,
) -> ConnectionSettings:
    """Connect this process to Ray unless it is connected already, and say to what.

    Settings are resolved as :mod:`cognitive_actors.cluster.settings` describes. Safe to call from several threads
    and any number of times. num_cpus, resources: of an embedded Ray, all cores and nothing of its own unless given;
    deadline: seconds to keep trying to reach a cluster. Raises ClusterError if no cluster is named or reachable, or if
    this process is connected to another one or in another namespace; ValueError for an address or port that is none.
    """
    global _connected_to
    with _lock:
        if ray.is_initialized():
            return _check_live(address, namespace)
        settings = resolve(address, namespace, os.environ, node_here=_node_here(), allow_embedded=allow_embedded)
        if settings is None:
            raise ClusterError(
                "no Ray cluster is named; pass --address, set RAY_ADDRESS, or start one with `ray start --head`"
            )
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        if settings.address == EMBEDDED:
            _embed(settings, num_cpus, resources)
        else:
            _connect(settings, deadline)
        _connected_to = settings.address
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
    endpoint = _endpoint(_address_here())
    return endpoint is not None and _listens(endpoint, 1.0)


def _address_here() -> str:
    from ray._private.utils import read_ray_address

    return read_ray_address() or ""


def _endpoint(address: str) -> tuple[str, int] | None:
    """Host and port of an address, None where it does not say them."""
    host, _, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() else None


def _listens(endpoint: tuple[str, int], timeout: float) -> bool:
    try:
        with socket.create_connection(endpoint, timeout=timeout):
            return True
    except (OSError, OverflowError):
        return False


def _check_live(address: str | None, namespace: str | None) -> ConnectionSettings:
    live, at = get_ray_namespace(), str(ray.get_runtime_context().gcs_address)
    if namespace is not None and namespace != live:
        raise ClusterError(
            f"this process is connected to Ray in namespace {live!r}, not {namespace!r};"
            " call ray.shutdown() first, or ask for the namespace that is in use"
        )
    if address is not None and address not in ("auto", at, _connected_to):
        raise ClusterError(
            f"this process is connected to Ray at {at}, not {address!r};"
            " call ray.shutdown() first, or leave the address out"
        )
    return ConnectionSettings(at, live, "the live connection")


def _embed(settings: ConnectionSettings, num_cpus: int | None, resources: Mapping[str, float] | None) -> None:
    _provide_token()

    def start() -> None:
        ray.init(
            address=EMBEDDED,
            namespace=settings.namespace,
            num_cpus=num_cpus,
            resources=dict(resources or {}),
            include_dashboard=False,
            object_store_memory=EMBEDDED_OBJECT_STORE,
            log_to_driver=False,
            logging_level="error",
        )

    try:
        if threading.current_thread() is threading.main_thread():
            start()
        else:
            _in_lasting_thread(start)
    except (OSError, RuntimeError) as failure:
        ray.shutdown()
        raise ClusterError(
            f"embedded Ray does not start: {failure}; free memory and disk (RAY_TMPDIR names the directory it writes"
            " to), or name a cluster with --address"
        ) from failure


def _provide_token() -> None:
    """Give an embedded Ray a token of its own where it could not keep one: without a home that can be written.

    Ray would store the token that guards it in ~/.ray/auth_token, and not start where it cannot.
    """
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    try:
        directory = Path.home() / ".ray"
        directory.mkdir(parents=True, exist_ok=True)
        writable = (directory / "auth_token").exists() or os.access(directory, os.W_OK)
    except (OSError, RuntimeError):
        writable = False
    if not writable:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _in_lasting_thread(work: Callable[[], None]) -> None:
    """Call ``work`` in a thread that stays until the process ends.

    The processes of an embedded Ray ask the kernel to be ended with their parent, and to Linux that is the thread.
    """
    outcome: Future[None] = Future()

    def stay() -> None:
        try:
            work()
        except BaseException as failure:
            outcome.set_exception(failure)
        else:
            outcome.set_result(None)
            threading.Event().wait()

    threading.Thread(target=stay, name="embedded Ray", daemon=True).start()
    outcome.result()


def _connect(settings: ConnectionSettings, deadline: float) -> None:
    here = _address_here() if settings.address == "auto" else ""
    endpoint = _endpoint(here or settings.address)
    end, pause, error = time.monotonic() + deadline, 0.5, "nothing listens there"
    while True:
        # Where nothing listens, ray.init would try for minutes and hear of no deadline.
        if endpoint is None or _listens(endpoint, max(0.1, min(5.0, end - time.monotonic()))):
            try:
                ray.init(
                    address=settings.address,
                    namespace=settings.namespace,
                    log_to_driver=False,
                    logging_level="error",
                )
                return
            except (OSError, RuntimeError) as failure:
                error = str(failure).strip().rstrip(".")
                ray.shutdown()
        left = end - time.monotonic()
        if left <= 0:
            raise ClusterError(
                f"no Ray answers at {settings.address!r} (from {settings.source}) within {deadline:g} s: {error};"
                " check that the head is up, its port open to this machine, and that RAY_AUTH_MODE and the token match"
            )
        time.sleep(min(pause, left))
        pause = min(2 * pause, 5.0)
