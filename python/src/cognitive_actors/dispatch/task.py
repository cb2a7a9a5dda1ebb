"""What a task is, who holds it, and how long to wait before it is tried again: values only, no clock and no store."""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["waiting", "queued", "leased", "done", "dead", "cancelled"]
#: waiting for other tasks; queued; leased to a dispatcher; done; dead, after its last attempt failed; cancelled.
STATES: tuple[State, ...] = ("waiting", "queued", "leased", "done", "dead", "cancelled")
#: What a task does not leave by itself.
FINAL: tuple[State, ...] = ("done", "dead", "cancelled")

OnFailure = Literal["fail", "skip"]
#: What becomes of a task when one that it waits for is dead or cancelled: it is cancelled, or runs without the result.
ON_FAILURE: tuple[OnFailure, ...] = ("fail", "skip")


@dataclass(frozen=True)
class Retries:
    """How often a task is tried, and the pauses in between.

    attempts: 1 or more, the first included; a claim whose dispatcher dies counts as one. first: seconds before the
    second attempt, at most; factor: by which that grows each time, 1 or more; most: seconds it grows to; jitter: the
    part of a pause that is left to chance, 0 for none to 1 for all of it (full jitter). Raises ValueError for a number
    out of its range.
    """

    attempts: int = 5
    first: float = 1.0
    factor: float = 2.0
    most: float = 300.0
    jitter: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or not 1 <= self.attempts < 2**31:
            raise ValueError(f"retries attempts is {self.attempts!r}; write a whole number, 1 or more")
        for name, least, largest in (("first", 0, math.inf), ("factor", 1, math.inf), ("most", 0, math.inf)):
            if not least <= getattr(self, name) < largest:
                raise ValueError(f"retries {name} is {getattr(self, name)!r}; write a finite number, {least} or more")
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"retries jitter is {self.jitter!r}; write a number between 0 and 1")


def pause(retries: Retries, attempt: int, drawn: float) -> float:
    """Seconds to wait after the failure of an attempt, the first of which is 1.

    drawn: a random number in [0, 1). Exponential backoff, its part ``jitter`` uniform. Source: M. Brooker 2015,
    Exponential backoff and jitter (AWS Architecture Blog).
    """
    try:
        longest = min(retries.most, retries.first * retries.factor ** (attempt - 1))
    except OverflowError:
        longest = retries.most if retries.first else 0.0
    return longest * (1.0 - retries.jitter * (1.0 - drawn))


def new_id() -> str:
    """An id of its own for a task: 32 hexadecimal digits, of which the first 12 are the time in milliseconds."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


@dataclass(frozen=True)
class NewTask:
    """A task to be enqueued.

    kind: which handler it is for; payload: what that gets, as JSON: None, text, booleans, finite numbers, lists and
    dicts with text as keys, 1 MiB at most; key: a second task under the same key is not made; priority: larger ones
    first; delay: seconds before it may be claimed; after: ids of the tasks it waits for; on_failure: what becomes of it
    when one of those fails, one of ON_FAILURE; id: made anew unless given. graph, node and names (node names by id) are
    set by :func:`cognitive_actors.dispatch.enqueue_graph`.
    """

    kind: str
    payload: Any = None
    key: str | None = None
    priority: int = 0
    delay: float = 0.0
    retries: Retries = field(default_factory=Retries)
    after: tuple[str, ...] = ()
    on_failure: OnFailure = "fail"
    id: str = field(default_factory=new_id)
    graph: str | None = None
    node: str | None = None
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Owner:
    """Who holds tasks. name: of a dispatcher, the same after a restart; incarnation: of one process of it alone."""

    name: str
    incarnation: str


@dataclass(frozen=True)
class Claim:
    """A task as it was given to an owner, for a time.

    token: the number of this claim of the task; what is said under an older one is not heard (a fencing token).
    attempt: which attempt this is, 1 for the first; differs from the token where a claim was given back. results: of
    the tasks it waited for, by node name or else by id, of those that are done.
    """

    id: str
    token: int
    owner: Owner
    kind: str
    payload: Any
    attempt: int
    attempts: int
    key: str | None = None
    graph: str | None = None
    node: str | None = None
    results: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A task as the store knows it.

    attempts: those counted so far; claims: how often it was claimed, those given back included; completions: how often
    a result was recorded, which is 1 for a task that is done. due, created, finished: seconds since 1970 by the clock
    of the store. owner: who holds it, or held it last. error: of the last attempt that failed, or why it was cancelled.
    """

    id: str
    kind: str
    payload: Any
    key: str | None
    state: State
    priority: int
    retries: Retries
    attempts: int
    claims: int
    completions: int
    due: float
    created: float
    finished: float | None
    owner: Owner | None
    error: str | None
    on_failure: OnFailure
    graph: str | None
    node: str | None


@dataclass(frozen=True)
class Reaped:
    """What became of leases that had run out: tasks queued again, and those that were at their last attempt."""

    requeued: int = 0
    dead: int = 0
