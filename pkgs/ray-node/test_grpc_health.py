"""The health question, put to real gRPC servers and to whatever else may listen."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grpc_health import Health, has_expired, health, is_serving, tls_context

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


@contextmanager
def grpc_server(
    answer: Callable[[bytes, grpc.ServicerContext], bytes], credentials: grpc.ServerCredentials | None = None
) -> Iterator[str]:
    """A gRPC server on loopback that answers health checks; yields its address."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    method = grpc.unary_unary_rpc_method_handler(answer)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": method})])
    port = (
        server.add_secure_port("127.0.0.1:0", credentials) if credentials else server.add_insecure_port("127.0.0.1:0")
    )
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait(5)


@contextmanager
def peer(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Something on loopback that is no gRPC server."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            handle(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join(5)


def test_a_server_that_serves() -> None:
    asked = []

    def answer(request: bytes, _context: grpc.ServicerContext) -> bytes:
        asked.append(request)
        return SERVING

    with grpc_server(answer) as address:
        assert is_serving(address, 5)
        assert is_serving(address, 5)
    assert asked == [b"", b""]


def test_a_server_that_does_not_serve() -> None:
    with grpc_server(lambda _request, _context: NOT_SERVING) as address:
        assert not is_serving(address, 5)


def test_a_server_without_the_service() -> None:
    def refuse(_request: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        return b""

    with grpc_server(refuse) as address:
        assert not is_serving(address, 5)


def test_a_server_that_hangs() -> None:
    over = threading.Event()

    def hang(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        over.wait(30)
        return SERVING

    with grpc_server(hang) as address:
        began = time.monotonic()
        assert not is_serving(address, 0.3)
        assert time.monotonic() - began < 15
        over.set()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not is_serving(f"127.0.0.1:{port}", 1)
    assert not is_serving("no-such-host.invalid:1", 1)
    assert not is_serving("nonsense", 1)


def test_an_answer_drop_by_drop_ends_with_the_time() -> None:
    def drip(connection: socket.socket) -> None:
        for _ in range(300):
            connection.sendall(b"\0")
            time.sleep(0.1)

    with peer(drip) as address:
        began = time.monotonic()
        assert not is_serving(address, 0.5)
        assert time.monotonic() - began < 15


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200))
def test_any_bytes_are_no_health(garbage: bytes) -> None:
    with peer(lambda connection: connection.sendall(garbage)) as address:
        assert not is_serving(address, 1)


def _certificates(directory: Path, minutes: float = 10) -> dict[str, str]:
    """An authority, and a certificate that it signed for 127.0.0.1, for the next minutes."""
    now = datetime.datetime.now(datetime.UTC)

    def certificate(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, is_authority: bool
    ) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(minutes=10 if is_authority else minutes))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .sign(signer, hashes.SHA256())
        )

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    files = {
        "RAY_TLS_CA_CERT": certificate("ca", authority, "ca", authority, True).public_bytes(pem),
        "RAY_TLS_SERVER_CERT": certificate("node", key, "ca", authority, False).public_bytes(pem),
        "RAY_TLS_SERVER_KEY": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    environ = {"RAY_USE_TLS": "1"}
    for name, content in files.items():
        path = directory / name
        path.write_bytes(content)
        environ[name] = str(path)
    return environ


def test_mutual_tls(tmp_path: Path) -> None:
    environ = _certificates(tmp_path)
    with grpc_server(lambda _request, _context: SERVING, _credentials(environ)) as address:
        assert is_serving(address, 5, tls_context(environ))
        assert not is_serving(address, 1)
    with grpc_server(lambda _request, _context: SERVING) as address:
        assert not is_serving(address, 1, tls_context(environ))


def test_a_certificate_that_is_too_old_is_not_silence(tmp_path: Path) -> None:
    environ = _certificates(tmp_path, minutes=-1)
    with grpc_server(lambda _request, _context: SERVING, _credentials(environ)) as address:
        assert health(address, 5, tls_context(environ)) is Health.EXPIRED
        assert health(address, 1) is Health.SILENT


def test_a_certificate_of_ones_own_that_is_too_old(tmp_path: Path) -> None:
    assert has_expired(_certificates(tmp_path, minutes=-1))
    assert not has_expired(_certificates(tmp_path))
    assert not has_expired({})


def _credentials(environ: dict[str, str]) -> grpc.ServerCredentials:
    key, certificate, authority = (
        Path(environ[f"RAY_TLS_{name}"]).read_bytes() for name in ("SERVER_KEY", "SERVER_CERT", "CA_CERT")
    )
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)


@pytest.mark.parametrize("environ", [{}, {"RAY_USE_TLS": "0"}])
def test_no_tls_unless_asked(environ: dict[str, str]) -> None:
    assert tls_context(environ) is None
