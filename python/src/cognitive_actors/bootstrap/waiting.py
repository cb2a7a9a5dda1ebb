"""Waiting for actors of a cluster, each for the same time, and what they say where they do not answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from ..cluster import ClusterError

K = TypeVar("K")
#: Seconds between two looks at what is waited for.
POLL_SECONDS = 0.05
#: Between two looks whoever waits is told so, and may raise.
Watch = Callable[[], None]


class NotUp(ClusterError):
    """Something that is to live on the cluster does not come up, or does not work. The message says what and why.

    report: what is known beside it, as JSON.
    """

    report: Mapping[str, Any] = MappingProxyType({})


def answers(calls: Mapping[K, Any], seconds: float, watch: Watch) -> dict[K, Any]:
    """What each call of an actor returned; the error in its place where it raised one or has not returned in time."""
    end = time.monotonic() + seconds
    open_calls = {reference: key for key, reference in calls.items()}
    found: dict[K, Any] = {}
    while open_calls:
        watch()
        left = end - time.monotonic()
        done, _ = ray.wait(list(open_calls), num_returns=1, timeout=max(0.0, min(left, POLL_SECONDS)))
        for reference in done:
            found[open_calls.pop(reference)] = _answer(reference)
        if left <= 0 and not done:
            late = GetTimeoutError(f"no answer within {seconds:g} s")
            return found | dict.fromkeys(open_calls.values(), late)
    return found


def until(condition: Callable[[], bool], seconds: float, watch: Watch) -> bool:
    """Whether something comes to be within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        watch()
        if time.monotonic() > end:
            return False
        time.sleep(POLL_SECONDS)
    return True


def reason(error: BaseException) -> str:
    """What was raised, without the trace that Ray has in its errors."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Unavailable|StaleWriter)\b", line)]
    return f"{type(error).__name__}: {(raised or lines or ['without a word'])[-1]}"


def never_starts(error: Any) -> bool:
    """Whether an actor has ended because its constructor raised: another one would, too."""
    return isinstance(error, RayActorError) and "creation task" in str(error)


def named(namespace: str, names: Iterable[str]) -> dict[str, Any]:
    """The actors of some names, of those that there are."""
    found = {}
    for name in names:
        try:
            found[name] = ray.get_actor(name, namespace)
        except ValueError:
            continue
    return found


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayError as error:
        return error
