"""A running ``cognitive serve``, as a person starts it: with a token, over HTTP."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from ports import free_port
from processes import python

TOKEN = "s" * 40


@dataclass(frozen=True)
class Served:
    """client presents the token, stranger none."""

    process: subprocess.Popen[str]
    client: httpx.Client
    stranger: httpx.Client


def initialised(client: httpx.Client) -> None:
    """Initialise, and wait until the agents are ready."""
    response = client.post("/organism/initialize")
    end = time.monotonic() + 300
    while response.status_code != 200 or client.get("/organism/health").status_code != 200:
        assert response.status_code in (200, 202, 503, 504), response.text
        assert time.monotonic() < end, response.text
        time.sleep(0.1)
        response = client.post("/organism/initialize")
    assert response.json() == {"phase": "ready"}


def shut_down(client: httpx.Client) -> None:
    """Shut down, and wait until there are no agents."""
    end = time.monotonic() + 300
    while (response := client.post("/organism/shutdown")).status_code != 200:
        assert response.status_code in (202, 503, 504), response.text
        assert time.monotonic() < end, response.text
        time.sleep(0.1)
    assert response.json() == {"phase": "not initialised"}


@contextmanager
def serving(directory: Path, *arguments: str) -> Iterator[Served]:
    """The services of this package on an embedded Ray, or those of other arguments; their token is in the directory."""
    token = directory / "token"
    token.write_text(f"{TOKEN}\n")
    command = ("-m", "cognitive_actors", "serve", "--address", "local", "--port", str(free_port()), "--json")
    # A slow machine is no fault of the services.
    process = python(*command, *arguments, COGNITIVE_TOKEN_FILE=str(token), COGNITIVE_TIMEOUT_S="60")
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()[1]
    places = json.loads(line)
    assert "cognitive" in places, places
    base = places["cognitive"].rpartition("/")[0]
    with (
        httpx.Client(base_url=base, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=90) as client,
        httpx.Client(base_url=base, timeout=90) as stranger,
    ):
        yield Served(process, client, stranger)
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130, process.communicate()
