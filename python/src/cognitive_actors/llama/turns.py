"""Whose turn it is: a few at a time, the others in the order they came, and no more of them than may wait."""

from __future__ import annotations

import asyncio
from collections import deque

from .errors import CoordinatorFailed, PoolBusy

__all__ = ["Turns"]


class Turns:
    """parallel: how many have a turn at once; waiting: how many may wait for one. For one event loop."""

    def __init__(self, parallel: int, waiting: int) -> None:
        if parallel < 1 or waiting < 0:
            raise ValueError(f"parallel is {parallel}, waiting {waiting}; write 1 or more and 0 or more")
        self._parallel, self._most = parallel, waiting
        self._queue: deque[asyncio.Future[None]] = deque()
        self._closed: tuple[str, tuple[str, ...]] | None = None
        self.in_flight = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nobody has a turn."""
        return self.in_flight == 0

    async def take(self, *, limited: bool = True) -> None:
        """Wait for a turn, to be given back by ``give``. Raises PoolBusy at once where too many wait, unless it is not
        limited, and CoordinatorFailed once there are no more turns.
        """
        if self._closed is not None:
            raise CoordinatorFailed(*self._closed)
        if self.in_flight < self._parallel:
            self.in_flight += 1
            return
        if limited and len(self._queue) >= self._most:
            raise PoolBusy(len(self._queue))
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place in self._queue:
                self._queue.remove(place)
            elif place.done() and not place.cancelled() and place.exception() is None:
                # Its turn came in the moment that it left.
                self.give()
            raise

    def give(self) -> None:
        """Give a turn back: it is the next one's."""
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.in_flight -= 1

    def close(self, why: str, suspects: tuple[str, ...]) -> None:
        """No more turns: who waits, and who comes, gets CoordinatorFailed."""
        self._closed = self._closed or (why, suspects)
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_exception(CoordinatorFailed(why, suspects))
