"""Handlers of tests, as dispatchers import them. What they do outside is a line in a file, which can be counted."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from cognitive_actors.dispatch import Claim

#: Neither is a handler.
NUMBER = 7


async def later(claim: Claim) -> None:
    """Not a plain function."""


def square(claim: Claim) -> Any:
    """The square of a number."""
    return claim.payload**2


def gather(claim: Claim) -> Any:
    """What came before, and this node's name."""
    return {"node": claim.node, "before": {name: result["node"] for name, result in claim.results.items()}}


def fails(claim: Claim) -> Any:
    """Raises, as its payload says."""
    if claim.payload == "exit":
        raise SystemExit(3)
    if claim.payload == "result":
        return float("nan")
    raise RuntimeError(f"no {claim.payload}\0")


def effect(claim: Claim) -> Any:
    """Append id, token and process to the file that the payload names, whole; the result says the same."""
    path, seconds = claim.payload["effects"], claim.payload.get("seconds", 0.0)
    if seconds:
        time.sleep(seconds)
    append(path, f"{claim.id} {claim.token} {os.getpid()}\n")
    return {"token": claim.token, "process": os.getpid()}


def waits_at_first(claim: Claim) -> Any:
    """Says that it has begun; the first attempt waits until it is killed or the file ``go`` is there."""
    folder = Path(claim.payload)
    append(str(folder / "begun"), f"{claim.attempt} {os.getpid()}\n")
    while claim.attempt == 1 and not (folder / "go").exists():
        time.sleep(0.02)
    return claim.attempt


def append(path: str, line: str) -> None:
    """One write to the end of a file, which no other comes between."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
