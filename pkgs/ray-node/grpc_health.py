"""Asks a gRPC server whether it serves: grpc.health.v1.Health/Check, with sockets alone.

The grpc package would do it in three lines and 20 MB, which is more than a tenth of an idle worker's own memory, in a
process that only watches. The request is always the same bytes, so no HTTP/2 library is needed either (RFC 9113, RFC
7541; https://github.com/grpc/grpc/blob/master/doc/health-checking.md).
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Iterator, Mapping
from enum import Enum

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS = 1, 4
_EMPTY_MESSAGE = b"\0\0\0\0\0"
#: HealthCheckResponse{status: SERVING} behind its five-byte length prefix.
_SERVING = b"\0\0\0\0\2\x08\x01"
_LARGEST_FRAME = 1 << 14
# X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL.
_EXPIRED = 10


class Health(Enum):
    """What a server says of itself. EXPIRED: it is there, with a certificate that is too old."""

    SERVING = "serving"
    SILENT = "silent"
    EXPIRED = "expired"


def is_serving(address: str, timeout: float, tls: ssl.SSLContext | None = None) -> bool:
    """Whether the server at address ("host:port") says within timeout seconds that it serves. Never raises."""
    return health(address, timeout, tls) is Health.SERVING


def health(address: str, timeout: float, tls: ssl.SSLContext | None = None) -> Health:
    """What the server at address ("host:port") says within timeout seconds. Never raises."""
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + timeout
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout) as plain:
            if tls is None:
                serves = _ask(plain, address, "http", deadline)
            else:
                with tls.wrap_socket(plain, server_hostname=host.strip("[]")) as secure:
                    serves = _ask(secure, address, "https", deadline)
    except (OSError, ValueError) as error:
        return Health.EXPIRED if getattr(error, "verify_code", None) == _EXPIRED else Health.SILENT
    return Health.SERVING if serves else Health.SILENT


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """The mutual TLS that Ray itself was told to use by RAY_USE_TLS and RAY_TLS_*, or None."""
    if environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return None
    context = ssl.create_default_context(cafile=environ["RAY_TLS_CA_CERT"])
    context.load_cert_chain(environ["RAY_TLS_SERVER_CERT"], environ["RAY_TLS_SERVER_KEY"])
    context.set_alpn_protocols(["h2"])
    return context


def has_expired(environ: Mapping[str, str]) -> bool:
    """Whether this machine's own certificate is too old: a server that refuses it for that just hangs up."""
    ours = tls_context(environ)
    if ours is None:
        return False
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(environ["RAY_TLS_SERVER_CERT"], environ["RAY_TLS_SERVER_KEY"])
    ours.check_hostname = False
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = ours.wrap_bio(there, back), server.wrap_bio(back, there, server_side=True)
    for end in (*ends, *ends):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return getattr(error, "verify_code", None) == _EXPIRED
    return False


def _ask(connection: socket.socket, authority: str, scheme: str, deadline: float) -> bool:
    connection.sendall(
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, _request_headers(authority, scheme))
        + _frame(_DATA, _END_STREAM, 1, _EMPTY_MESSAGE)
    )
    for kind, flags, payload in _frames(connection, deadline):
        if kind == _DATA and payload:
            return payload == _SERVING
        if kind in (_RESET, _GOAWAY) or (kind == _HEADERS and flags & _END_STREAM):
            return False  # refused, or an error in the trailers without any message
    return False


def _request_headers(authority: str, scheme: str) -> bytes:
    """The header block in HPACK: static table entries, and literals that are not indexed."""
    method_and_scheme = b"\x83" + (b"\x87" if scheme == "https" else b"\x86")
    return (
        method_and_scheme
        + b"\x04" + _text("/grpc.health.v1.Health/Check")
        + b"\x01" + _text(authority)
        + b"\x0f\x10" + _text("application/grpc")  # content-type, entry 31
        + b"\x00" + _text("te") + _text("trailers")
    )  # fmt: skip


def _text(text: str) -> bytes:
    encoded = text.encode()
    if len(encoded) > 126:
        raise ValueError(f"{text!r} is too long for a header of one length byte")
    return bytes([len(encoded)]) + encoded


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _frames(connection: socket.socket, deadline: float) -> Iterator[tuple[int, int, bytes]]:
    while True:
        head = _exactly(connection, 9, deadline)
        length = int.from_bytes(head[:3], "big")
        if length > _LARGEST_FRAME:
            raise ValueError(f"a frame of {length} bytes in answer to a health check")
        yield head[3], head[4], _exactly(connection, length, deadline)


def _exactly(connection: socket.socket, count: int, deadline: float) -> bytes:
    received = b""
    while len(received) < count:
        # A timeout of zero would mean non-blocking; a peer that drips bytes must still come to an end.
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = connection.recv(count - len(received))
        if not chunk:
            raise ConnectionError("the server closed the connection")
        received += chunk
    return received
