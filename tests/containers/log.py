"""One line per step, with the seconds since the beginning."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_WORTH_SAYING = 1.0


class Log:
    """What the driver and a scenario say while they run; the scenario's global `log`."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._depth = 0

    def log(self, message: str, machine: str = "") -> None:
        """Say something, of a machine if one is named."""
        prefix = f"[{time.monotonic() - self._begin:7.2f}] {'  ' * self._depth}{machine + ': ' if machine else ''}"
        for line in message.rstrip().splitlines() or [""]:
            print(prefix + line, file=sys.stdout, flush=True)

    info = warning = error = log

    @contextmanager
    def nested(self, message: str, machine: str = "") -> Iterator[None]:
        """Say what is being done, by its first line, and how long it took if that was long."""
        first, *more = message.strip().splitlines() or [""]
        self.log(first + (" …" if more else ""), machine)
        begin = time.monotonic()
        self._depth += 1
        try:
            yield
        finally:
            taken = time.monotonic() - begin
            if taken >= _WORTH_SAYING:
                self.log(f"({taken:.1f} s)", machine)
            self._depth -= 1

    @contextmanager
    def subtest(self, name: str) -> Iterator[None]:
        """Group steps under the name of what they test."""
        with self.nested(f"subtest: {name}"):
            try:
                yield
            except Exception as error:
                self.error(f'subtest "{name}" failed: {error}')
                raise
