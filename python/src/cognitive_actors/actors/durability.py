"""Actors that outlive their process: what they know is saved before they answer, and resumed where they start again."""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import numpy as np
import ray

from ..core.answers import ROOM, Answers
from ..core.description import describe, difference
from ..files.errors import CheckpointError
from ..files.plain_text import from_text, to_text
from ..files.store import Checkpoint, StaleWriter, StoreUnavailable, open_store

#: The environment variable that names the store of actors that are given no more than a key.
CHECKPOINTS = "COGNITIVE_CHECKPOINTS"
#: Times to take a key over from a writer that is still at it.
_TAKEOVERS = 5

P = ParamSpec("P")
A = TypeVar("A", bound="Resumable")
R = TypeVar("R")


@dataclass(frozen=True)
class Durability:
    """Where an actor keeps its checkpoints, and how often.

    url: as :func:`cognitive_actors.files.store.open_store` takes it, reachable from every node; key: the actor's name
    there, of this actor alone; every: changes after which it is saved, 1 for each one before it is answered, and more
    to be faster and lose up to that many with the process; seconds: saved as well at a change that comes so long after
    the last save; requests: the last requests whose answers are kept; room: bytes of those answers, of which the last
    is kept whatever it takes, and an older one that found no room is known without its answer. Ray stores the arguments
    of actors: leave a password out of the URL. Raises ValueError for a number out of its range.
    """

    url: str = field(repr=False)
    key: str
    every: int = 1
    seconds: float = math.inf
    requests: int = 1024
    room: int = ROOM

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not self.key:
            raise ValueError(f"durability key is {self.key!r}; write the actor's name")
        for name in ("every", "requests"):
            if getattr(self, name) < 1:
                raise ValueError(f"durability {name} is {getattr(self, name)}; write 1 or more")
        if not self.seconds >= 0:
            raise ValueError(f"durability seconds is {self.seconds}; write 0 or more")
        if self.room < 0:
            raise ValueError(f"durability room is {self.room}; write a number of bytes, 0 or more")

    @classmethod
    def read(cls, given: Durability | str | None) -> Durability | None:
        """What an actor was given: one of these, or a key alone, in the store that COGNITIVE_CHECKPOINTS names here.

        Raises ValueError where that variable names none, or for anything else.
        """
        if given is None or isinstance(given, Durability):
            return given
        if not isinstance(given, str):
            raise ValueError(f"durability is {given!r}; write a key, Durability(url, key), or None for none")
        url = os.environ.get(CHECKPOINTS, "")
        if not url:
            raise ValueError(
                f"durability is the key {given!r} alone, and no store is named where the actor runs; set {CHECKPOINTS}"
                " to its URL on every node, or write Durability(url, key)"
            )
        return cls(url, given)


class Resumable(Protocol):
    """What an actor must have for its state to be saved and resumed."""

    _continuity: Continuity

    def _snapshot(self) -> dict[str, np.ndarray]:
        """The state as arrays."""

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """The inverse. Raises ValueError or KeyError for arrays that do not fit."""

    def _memory(self) -> Any:
        """What ``_recall`` needs to bring this moment back after a change."""

    def _recall(self, memory: Any) -> None:
        """Undo the changes since ``memory``."""


def acknowledged(method: Callable[Concatenate[A, P], R]) -> Callable[Concatenate[A, P], R]:
    """A method that changes the state, with a keyword ``request``: applied once for each, and saved before it returns.

    In a durable actor Ray's number of the task takes the place of a request that is not given, so that a call that Ray
    retries is applied once, and a method that raises has changed nothing.
    """

    @wraps(method)
    def call(self: A, /, *args: P.args, **kwargs: P.kwargs) -> R:
        request: Any = kwargs.get("request")
        answer: R = self._continuity.once(self, request, partial(method, self, *args, **kwargs))
        return answer

    return cast("Callable[Concatenate[A, P], R]", call)


class Continuity:
    """The checkpoints of one actor. ``store`` is None for an actor that is not durable."""

    def __init__(self, given: Durability | str | None, **identity: Any) -> None:
        """given: as :meth:`Durability.read` takes it; identity: the model and parameters that a checkpoint must have
        been made with (see ``describe``)."""
        self.durability = durability = Durability.read(given)
        self.store = None if durability is None else open_store(durability.url)
        self.identity = describe(identity) if durability is not None else {}
        self.answers = Answers() if durability is None else Answers(durability.requests, room=durability.room)
        self.generation = 0
        # Tells what this process saved from what another saved under the same number.
        self.writer = secrets.token_hex(8)
        self.unsettled = False
        self.unsaved, self.saved_at = 0, time.monotonic()

    def begin(self, actor: Resumable) -> None:
        """Restore the last state there is, and take the key over: whoever had it cannot save any more.

        Raises CheckpointError where the state cannot be restored or belongs to another model.
        """
        for attempt in range(_TAKEOVERS if self.durability else 0):
            found = self._load()
            if found is not None:
                self._adopt(actor, found)
            try:
                self.save(actor)
                break
            except StaleWriter:
                if attempt == _TAKEOVERS - 1:
                    raise

    def once(
        self,
        actor: Resumable,
        request: str | None,
        change: Callable[[], Any],
        parts: Callable[[str], Mapping[str, str]] | None = None,
    ) -> Any:
        """The result of ``change``, which is called only if the request is a new one, and saved where it is due.

        parts: what is to be known of the requests that the change is made of, given the name of the whole. An actor
        that is not durable knows the requests that were named, for as long as its process lives.
        """
        request = _checked(request) or (_task() if self.durability else None)
        self.settle(actor)
        if request is not None and request in self.answers:
            return from_text(self.answers.text(request))
        if self.durability is None:
            return self._known(request, change, parts)
        before = actor._memory(), self.answers, self.unsaved
        try:
            answer = self._known(request, change, parts)
            self.unsaved += 1
            if self._due(self.durability):
                self.save(actor)
        except BaseException:
            actor._recall(before[0])
            _, self.answers, self.unsaved = before
            raise
        return answer

    def _known(
        self, request: str | None, change: Callable[[], Any], parts: Callable[[str], Mapping[str, str]] | None
    ) -> Any:
        answer = change()
        if request is not None:
            text = to_text(answer, "the answer")
            self.answers = self.answers.having(request, text, None if parts is None else parts(request))
        return answer

    def save(self, actor: Resumable) -> int | None:
        """Save now. Returns the generation, None for an actor that is not durable.

        Raises StaleWriter if another actor has taken the key over.
        """
        if self.store is None or self.durability is None:
            return None
        meta = {"identity": self.identity, "writer": self.writer}
        try:
            arrays = {f"state/{name}": x for name, x in actor._snapshot().items()}
            arrays |= {f"requests/{name}": x for name, x in self.answers.to_arrays().items()}
        except UnicodeEncodeError as error:
            raise CheckpointError(f"{self._name}: not saved: {error}; write names that UTF-8 can hold") from None
        try:
            self.generation = self.store.save(self.durability.key, arrays, meta, after=self.generation)
        except StoreUnavailable:
            # Perhaps it was stored, and the answer lost.
            self.unsettled = True
            raise
        self.unsaved, self.saved_at = 0, time.monotonic()
        return self.generation

    def _due(self, durability: Durability) -> bool:
        return self.unsaved >= durability.every or time.monotonic() - self.saved_at >= durability.seconds

    @property
    def _name(self) -> str:
        assert self.store is not None and self.durability is not None
        return f"{self.store.where}: {self.durability.key!r}"

    def _load(self) -> Checkpoint | None:
        assert self.store is not None and self.durability is not None
        return self.store.load(self.durability.key)

    def settle(self, actor: Resumable) -> None:
        """After a save that failed: find out whether it was stored all the same."""
        if not self.unsettled:
            return
        found = self._load()
        if found is not None and found.latest != self.generation:
            if found.meta.get("writer") != self.writer or found.generation != found.latest:
                raise StaleWriter(f"{self._name}: another actor has taken over; end this one, and call that one")
            self._adopt(actor, found)
            self.unsaved, self.saved_at = 0, time.monotonic()
        self.unsettled = False

    def _adopt(self, actor: Resumable, found: Checkpoint) -> None:
        name = f"{self._name}, generation {found.generation}"
        then = found.meta.get("identity")
        differs = difference(then, self.identity) if isinstance(then, dict) else "it was not saved by an actor"
        if differs is not None:
            raise CheckpointError(
                f"{name}: {differs}; give the actor what it had, write another key, or forget this one in the store"
            )
        try:
            actor._restore(_under("state/", found.arrays))
            self.answers = self.answers.from_arrays(_under("requests/", found.arrays))
        except (ValueError, KeyError) as error:
            raise CheckpointError(
                f"{name}: {error}; read it with the version that wrote it, or write another key"
            ) from None
        self.generation = found.latest


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): x for name, x in arrays.items() if name.startswith(prefix)}


def _checked(request: str | None) -> str | None:
    if request is not None and (not isinstance(request, str) or not 0 < len(request) <= 200 or not _encodable(request)):
        raise ValueError(f"request is {request!r}; write a text of 1 to 200 characters, of its own for each change")
    return request


def _encodable(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _task() -> str | None:
    """Ray's number of the call being served; the same where Ray retries it. None outside of an actor."""
    task = ray.get_runtime_context().get_task_id() if ray.is_initialized() else None
    return None if task is None else f"ray-task:{task}"
