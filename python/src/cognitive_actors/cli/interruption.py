"""Ctrl-C that is not lost.

Python drops an exception that is raised in a callback around fork(), and starting Ray forks a lot: a KeyboardInterrupt
that falls there would vanish. So the signal is remembered as well, and whoever reports progress asks for it.
"""

from __future__ import annotations

import signal
from types import FrameType

_interrupted = False


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
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt
