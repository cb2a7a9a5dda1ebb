"""What there is to see of the organism at the moment: how its agents are, or why nobody can say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from .named import nodes
from .population import SharedPopulation
from .problems import Refused, refusal

T = TypeVar("T")
logger = logging.getLogger("ray.serve")
#: Until it is said that there is no answer; and until an answer that came when nobody waited is too old. Choices.
PATIENCE_SECONDS, FRESH_SECONDS = 1.0, 3.0


class Question(Generic[T]):
    """Something that is asked once at a time: who asks again before the answer has come waits for the same one. So
    what does not answer is not asked ever more."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._asked: asyncio.Future[T] | None = None
        self._answered_at = 0.0

    async def answer(self, seconds: float) -> T | None:
        """The answer, None where it has not come within so many seconds. Raises what asking raises."""
        if self._asked is None or self._is_old(self._asked):
            self._asked = asyncio.ensure_future(self._ask())
            self._asked.add_done_callback(self._answered)
        asked = self._asked
        await asyncio.wait((asked,), timeout=seconds)
        if not asked.done():
            return None
        self._asked = None
        return asked.result()

    def _answered(self, asked: asyncio.Future[T]) -> None:
        self._answered_at = asked.get_loop().time()

    def _is_old(self, asked: asyncio.Future[T]) -> bool:
        # Those who had asked may have gone long ago.
        return asked.done() and asked.get_loop().time() - self._answered_at > FRESH_SECONDS


class Sight:
    """The agents of a population and the cluster's nodes, looked at by one who looks again and again."""

    def __init__(self, population: SharedPopulation) -> None:
        self._overview: Question[dict[str, Any]] = Question(lambda: population.ask("overview"))
        self._absence = Question(population.absence)
        self._nodes = Question(nodes)
        self._has_answered = False
        self._logged: str | None = None

    async def look(self) -> dict[str, Any]:
        """``phase``; with ``ready`` what ``/organism/overview`` answers, otherwise the ``reason`` in words. ``nodes``
        is null where the cluster does not say. Takes two times PATIENCE_SECONDS at most, and raises nothing."""
        overview, cluster = await asyncio.gather(
            self._overview.answer(PATIENCE_SECONDS), self._nodes.answer(PATIENCE_SECONDS), return_exceptions=True
        )
        machines = cluster if isinstance(cluster, dict) else None
        if isinstance(overview, dict):
            self._has_answered, self._logged = True, None
            return {"phase": "ready", **overview, "nodes": machines}
        phase, reason = await self._why(overview if isinstance(overview, Exception) else None)
        return {"phase": phase, "reason": reason, "nodes": machines}

    async def _why(self, error: Exception | None) -> tuple[str, str]:
        """The phase that is not ready, and the reason."""
        try:
            absence = await self._absence.answer(PATIENCE_SECONDS)
        except Exception as other:
            absence, error = None, error or other
        if absence is not None:
            self._has_answered = False
            return absence
        if error is not None:
            self._log(error)
            return "not answering", str(refusal(error))
        if self._has_answered:
            return "not answering", "the agents' actor does not answer: it is busy, or is being started again"
        return "starting", "the agents are starting"

    def _log(self, error: Exception) -> None:
        # Once, and not at every look.
        if not isinstance(error, Refused) and self._logged != str(error):
            self._logged = str(error)
            logger.error("the agents cannot be looked at: %s", refusal(error), exc_info=error)
