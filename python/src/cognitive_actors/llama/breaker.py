"""Whether what failed is tried again: nothing here but moments of failures, in seconds of one monotonic clock.

A breaker opens at the third failure within 300 s. A minute after the last one it closes for a trial: a failure within
300 s of that last one opens it again at once. That a trial went well nobody says; the window stands for it. Choices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FAILURES", "REST", "WINDOW", "Breaker"]

#: Seconds for which a failure counts.
WINDOW = 300.0
#: Recent failures that open the breaker.
FAILURES = 3
#: Seconds after the last failure until there is a trial.
REST = 60.0


@dataclass(frozen=True)
class Breaker:
    """failures: moments that were recent at the last of them, first to last; opened: whether that one opened it."""

    failures: tuple[float, ...] = ()
    opened: bool = False

    @classmethod
    def of(cls, moments: Iterable[float]) -> Breaker:
        """The breaker after failures at these moments, first to last."""
        found = cls()
        for moment in moments:
            found = found.failed(moment)
        return found

    def failed(self, moment: float) -> Breaker:
        """The breaker after one more failure."""
        before = self._recent(moment)
        failures = (*before, moment)
        # Once open, it stays so from trial to trial, also where the first failures are long ago.
        return Breaker(failures, len(failures) >= FAILURES or (self.opened and bool(before)))

    def recent(self, now: float) -> int:
        """How many failures are less than 300 s ago."""
        return len(self._recent(now))

    def closed(self, now: float) -> bool:
        """Whether it lets through."""
        return not self.opened or now - self.failures[-1] >= REST

    def _recent(self, now: float) -> tuple[float, ...]:
        return tuple(moment for moment in self.failures if now - moment < WINDOW)
