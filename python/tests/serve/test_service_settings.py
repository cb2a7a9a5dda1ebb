"""What the environment says to services, and what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from cognitive_actors.serve.settings import ServiceSettings


def test_nothing_said() -> None:
    assert ServiceSettings.read({}) == ServiceSettings(timeout=8.0, in_flight=64, body=1 << 20, token=None)


def test_limits_are_read() -> None:
    said = {"COGNITIVE_TIMEOUT_S": "2.5", "COGNITIVE_MAX_INFLIGHT": "3", "COGNITIVE_MAX_BODY": "100"}
    assert ServiceSettings.read(said) == ServiceSettings(timeout=2.5, in_flight=3, body=100)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_limit_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=f"COGNITIVE_TIMEOUT_S is '{text}'; write a number"):
        ServiceSettings.read({"COGNITIVE_TIMEOUT_S": text})


def test_the_cluster_s_token_is_asked_for_where_it_has_one(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc\n")
    assert ServiceSettings.read({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(file)}).token == "abc"
    assert ServiceSettings.read({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "def"}).token == "def"
    assert ServiceSettings.read({"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": str(file)}).token is None


def test_the_services_own_token_goes_before_the_cluster_s(tmp_path: Path) -> None:
    file = tmp_path / "own"
    file.write_text("own")
    said = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "cluster", "COGNITIVE_TOKEN_FILE": str(file)}
    assert ServiceSettings.read(said).token == "own"
    assert "own" not in repr(ServiceSettings.read(said))


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_an_announced_token_must_be_there(tmp_path: Path, content: str | None) -> None:
    """Else a service would be open to everyone because a file is missing."""
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match="COGNITIVE_TOKEN_FILE"):
        ServiceSettings.read({"COGNITIVE_TOKEN_FILE": str(file)})
