"""One owner of keys and values that many share: every change has a number, and conflicts are told."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from ..core.versioned import Versioned
from .durability import Continuity, Durability, acknowledged

_ANY = "*"


class StateConflict(Exception):
    """The state is not, or no longer, what a change was made for."""


class StateMissing(Exception):
    """A key that is not there."""


class HistoryGone(Exception):
    """What changed since then is not known."""


class StateFull(Exception):
    """There is no room for more."""


class OtherChange(Exception):
    """A request's name has been used for another change."""


@dataclass(frozen=True)
class Room:
    """keys: how many there may be; characters: of all values as JSON (ASCII). Choices."""

    keys: int = 1000
    characters: int = 4 << 20


@ray.remote(num_cpus=0, max_restarts=0)
class SharedStateActor:
    """A shell around :class:`cognitive_actors.core.versioned.Versioned`; values are JSON as text.

    durability: as in NeurotransmitterActor. With it versions go on where the actor is started again; without it they
    begin at 0 in a new epoch. request: names a change; one that comes again under the same name gets the answer of
    the first, also from an actor that is not durable, for as long as that lives.
    """

    def __init__(self, durability: Durability | str | None = None, room: Room | None = None) -> None:
        self.room = Room() if room is None else room
        self.state = Versioned(secrets.token_hex(8), time.time())
        self._continuity = Continuity(durability, actor="shared state")
        self._continuity.begin(self)

    def read(
        self, key: str | None = None, since: int | None = None, epoch: str | None = None, unless: Sequence[str] = ()
    ) -> dict[str, Any]:
        """``entries``, [text, version] by key: all, that of one key, or what is new since a version of an epoch, with
        the keys ``deleted`` since; ``epoch``, ``version``, ``age`` in seconds since the last change, and ``tag``. Of
        the entries is said nothing (None) where the tag is one of ``unless``, or that is ``*``.

        Raises StateMissing for a key that is not there, HistoryGone where what changed since is not known.
        """
        tag = self.state.tag(key)
        if tag is None:
            raise StateMissing(f"there is no key {key!r}")
        if epoch is not None and epoch != self.state.epoch:
            raise HistoryGone(f"the epoch {epoch!r} has ended; read the whole state")
        try:
            entries, deleted = (self.state.entries, []) if since is None else self.state.since(since)
        except LookupError as error:
            raise HistoryGone(str(error.args[0])) from None
        chosen = entries if key is None else {key: self.state.entries[key]}
        same = tag in unless or _ANY in unless
        return {
            "epoch": self.state.epoch,
            "version": self.state.version,
            "age": max(0.0, time.time() - self.state.changed),
            "tag": tag,
            "entries": None if same else {name: [entry.text, entry.version] for name, entry in chosen.items()},
            "deleted": deleted,
        }

    def change(
        self,
        texts: Mapping[str, str],
        deletions: Sequence[str] = (),
        *,
        key: str | None = None,
        match: Sequence[str] | None = None,
        unless: Sequence[str] = (),
        request: str | None = None,
    ) -> dict[str, Any]:
        """Set some keys and delete others, all or nothing: one new version.

        match: tags of which the state has one, or where ``key`` is given that key; ``*`` for any; unless: tags of
        which it has none, ``*`` for a key that is not there. Returns ``epoch``, ``version``, ``tag`` (of the key where
        one is given), ``changed`` and ``deleted``. Raises StateConflict where it is otherwise, StateMissing for
        ``key`` to be deleted and not there, StateFull where there is no room, OtherChange for a request that was
        another one.
        """
        content = json.dumps([dict(texts), list(deletions), key], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()
        answer = self._change(texts, deletions, key, match, unless, digest, request=request)
        if answer["of"] != digest:
            raise OtherChange(f"the request {request!r} was another change; give each change a name of its own")
        return {name: x for name, x in answer.items() if name != "of"}

    def save(self) -> int | None:
        """Save the state now. Returns its generation in the store, None without durability."""
        return self._continuity.save(self)

    def ready(self) -> dict[str, Any]:
        """Answers once the actor can work. restarted: whether its process is not its first."""
        again = ray.get_runtime_context().was_current_actor_reconstructed
        return {"epoch": self.state.epoch, "version": self.state.version, "restarted": again, "pid": os.getpid()}

    @acknowledged
    def _change(
        self,
        texts: Mapping[str, str],
        deletions: Sequence[str],
        key: str | None,
        match: Sequence[str] | None,
        unless: Sequence[str],
        digest: str,
        *,
        request: str | None = None,
    ) -> dict[str, Any]:
        before, what = self.state, "the state" if key is None else f"the key {key!r}"
        tag = before.tag(key)
        if match is not None and (tag is None or not (tag in match or _ANY in match)):
            now = "is not there" if tag is None else f"is {tag} now"
            raise StateConflict(f"{what} {now}; read it again, and make the change anew")
        if tag is not None and (tag in unless or _ANY in unless):
            raise StateConflict(f"{what} is {tag} already; read it, and change that")
        if key in deletions and tag is None:
            raise StateMissing(f"there is no key {key!r}")
        after = before.applied(texts, deletions, time.time())
        self._check_room(before, after)
        self.state = after
        return {
            "epoch": after.epoch,
            "version": after.version,
            "tag": after.tag(key),
            "changed": list(texts),
            "deleted": [name for name in dict.fromkeys(deletions) if name in before.entries],
            "of": digest,
        }

    def _check_room(self, before: Versioned, after: Versioned) -> None:
        """What is already too much may become less, and not more."""
        keys = len(after.entries)
        if keys > max(self.room.keys, len(before.entries)):
            raise StateFull(f"there would be {keys} keys, and there is room for {self.room.keys}; delete some")
        size, was = (sum(len(entry.text) for entry in x.entries.values()) for x in (after, before))
        if size > max(self.room.characters, was):
            raise StateFull(f"there would be {size} characters, and there is room for {self.room.characters}")

    def _snapshot(self) -> dict[str, np.ndarray]:
        return self.state.to_arrays()

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.state = Versioned.from_arrays(arrays)

    def _memory(self) -> Versioned:
        return self.state

    def _recall(self, memory: Any) -> None:
        self.state = memory
