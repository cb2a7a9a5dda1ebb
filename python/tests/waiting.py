"""Waiting for what a test shows, with one patience for all of them: a slow machine is no fault of what is tested."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, seconds: float = 120.0) -> T:
    """The first answer that is true. A test fails, saying what did not happen, where none comes."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.05)
    return found
