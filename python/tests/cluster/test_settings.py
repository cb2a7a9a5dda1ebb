"""Where Ray is looked for: every rule of precedence, without any Ray."""

from __future__ import annotations

import pytest

from cognitive_actors.cluster.settings import EMBEDDED, ConnectionSettings, resolve

EVERY_NAMESPACE = {"RAYNIXOS_NAMESPACE": "nixos", "SEEDCORE_NS": "seed", "RAY_NAMESPACE": "ray"}


def resolved(environ: dict[str, str], address: str | None = None, **options: bool) -> ConnectionSettings:
    settings = resolve(address, None, environ, **options)
    assert settings is not None
    return settings


@pytest.mark.parametrize(
    ("given", "without", "expected"),
    [
        ("argument", (), "argument"),
        (None, (), "nixos"),
        (None, ("RAYNIXOS_NAMESPACE",), "seed"),
        (None, ("RAYNIXOS_NAMESPACE", "SEEDCORE_NS"), "ray"),
        (None, tuple(EVERY_NAMESPACE), "cognitive"),
    ],
)
def test_namespace(given: str | None, without: tuple[str, ...], expected: str) -> None:
    environ = {**EVERY_NAMESPACE, **dict.fromkeys(without, "")}
    settings = resolve(None, given, environ)
    assert settings is not None and settings.namespace == expected


def test_address_goes_from_argument_to_embedded() -> None:
    environ = {"RAY_ADDRESS": "a:1", "RAY_HOST": "h", "RAY_PORT": "2"}
    assert resolved(environ, "b:3", node_here=True).address == "b:3"
    assert resolved(environ, node_here=True).address == "a:1"
    del environ["RAY_ADDRESS"]
    assert resolved(environ, node_here=True).address == "ray://h:2"
    del environ["RAY_PORT"]
    assert resolved(environ, node_here=True).address == "ray://h:10001"
    assert resolved({"RAY_PORT": "2"}, node_here=True).address == "auto"
    assert resolved({}).address == EMBEDDED
    assert resolve(None, None, {}, allow_embedded=False) is None


def test_source_names_the_setting() -> None:
    assert resolved({"RAY_ADDRESS": "a:1"}).source == "RAY_ADDRESS"
    assert resolved({"RAY_HOST": "h"}).source == "RAY_HOST and RAY_PORT"


@pytest.mark.parametrize("port", ["0", "65536", "-1", "6379a", " 6379"])
def test_bad_port(port: str) -> None:
    with pytest.raises(ValueError, match=r"RAY_PORT is .*write a port number between 1 and 65535"):
        resolve(None, None, {"RAY_HOST": "h", "RAY_PORT": port})
