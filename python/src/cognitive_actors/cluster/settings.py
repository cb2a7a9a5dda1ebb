"""Where Ray is and which namespace to use: a pure function of arguments and environment.

Namespace: argument > RAYNIXOS_NAMESPACE > SEEDCORE_NS > RAY_NAMESPACE > "cognitive".
Address:   argument > RAY_ADDRESS > RAY_HOST + RAY_PORT > a node running on this machine > embedded, where allowed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_NAMESPACE = "cognitive"
_NAMESPACES = ("RAYNIXOS_NAMESPACE", "SEEDCORE_NS", "RAY_NAMESPACE")
DEFAULT_CLIENT_PORT = 10001

#: The address that stands for a Ray started inside this very process.
EMBEDDED = "local"


@dataclass(frozen=True)
class ConnectionSettings:
    """address: as ray.init takes it, or EMBEDDED; source: which setting it came from, for error messages."""

    address: str
    namespace: str
    source: str


def default_namespace(environ: Mapping[str, str] = os.environ) -> str:
    """The namespace where none is given: what drivers, replicas and dispatchers of one cluster agree on."""
    return next((environ[name] for name in _NAMESPACES if environ.get(name)), DEFAULT_NAMESPACE)


def resolve(
    address: str | None,
    namespace: str | None,
    environ: Mapping[str, str],
    *,
    node_here: bool = False,
    allow_embedded: bool = True,
) -> ConnectionSettings | None:
    """The settings to connect with, or None where nothing names a cluster and embedding is not allowed.

    node_here: whether a Ray node runs on this machine. Raises ValueError for a RAY_PORT that is not a port.
    """
    ns = namespace or default_namespace(environ)
    if address:
        return ConnectionSettings(address, ns, "the address given")
    if environ.get("RAY_ADDRESS"):
        return ConnectionSettings(environ["RAY_ADDRESS"], ns, "RAY_ADDRESS")
    if environ.get("RAY_HOST"):
        port = environ.get("RAY_PORT") or str(DEFAULT_CLIENT_PORT)
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"RAY_PORT is {port!r}; write a port number between 1 and 65535")
        return ConnectionSettings(f"ray://{environ['RAY_HOST']}:{port}", ns, "RAY_HOST and RAY_PORT")
    if node_here:
        return ConnectionSettings("auto", ns, "the Ray node on this machine")
    return ConnectionSettings(EMBEDDED, ns, "embedded Ray") if allow_embedded else None
