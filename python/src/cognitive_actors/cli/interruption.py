"""Ctrl-C that is not lost.

Python drops an exception that is raised in a callback around fork(), and starting Ray forks a lot: a KeyboardInterrupt
that falls there would vanish. So the signal is remembered as well, and whoever reports progress asks for it. A terminal
sends it to all processes of a command, and the first of them hands it on: what comes a moment later is the same Ctrl-C.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

_SAME = 1.0

_interrupted = False
_at = -_SAME


def listen() -> None:
    """From now on remember SIGINT, besides raising KeyboardInterrupt. For the main thread."""
    global _interrupted
    _interrupted = False
    signal.signal(signal.SIGINT, _remember)


def check() -> None:
    """Raise KeyboardInterrupt if SIGINT has come since ``listen``."""
    if _interrupted:
        raise KeyboardInterrupt


def _remember(number: int, frame: FrameType | None) -> None:
    global _interrupted, _at
    again, _at = time.monotonic() - _at < _SAME, time.monotonic()
    _interrupted = True
    if not again:
        raise KeyboardInterrupt
