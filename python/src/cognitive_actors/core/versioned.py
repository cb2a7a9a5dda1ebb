"""Keys and values with one version for all of them: what changed since when, and what it is called by.

A value is a text, which nothing here looks into. State goes in and new state comes out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

#: Deletions that are remembered, so that ``since`` can tell of them. A choice.
KEPT_DELETIONS = 1024


@dataclass(frozen=True)
class Entry:
    """A value as text, and the version that brought it."""

    text: str
    version: int


@dataclass(frozen=True)
class Versioned:
    """The state of one moment.

    epoch: names the history that versions count in, which are comparable within one epoch only; version: of the last
    change, 0 before the first; changed: when that was, or the epoch began, in seconds of whoever tells the time;
    deleted: versions in which keys went that are not there now, oldest first; forgotten: the newest deletion that is
    no longer known.
    """

    epoch: str
    changed: float
    version: int = 0
    entries: Mapping[str, Entry] = field(default_factory=dict)
    deleted: Mapping[str, int] = field(default_factory=dict)
    forgotten: int = 0
    kept: int = KEPT_DELETIONS

    def tag(self, key: str | None = None) -> str | None:
        """What the whole, or one key, is called at this version and at no other. None for a key that is not there."""
        if key is None:
            return f"{self.epoch}.{self.version}"
        return f"{self.epoch}.{self.entries[key].version}" if key in self.entries else None

    def applied(self, texts: Mapping[str, str], deletions: Iterable[str], now: float) -> Versioned:
        """With other values, and without some keys: one new version, none where nothing is asked for.

        Keys to delete that are not there are left out of account.
        """
        gone = [key for key in dict.fromkeys(deletions) if key in self.entries]
        if not texts and not gone:
            return self
        version = self.version + 1
        entries = {key: entry for key, entry in self.entries.items() if key not in set(gone)}
        entries |= {key: Entry(text, version) for key, text in texts.items()}
        deleted = {key: then for key, then in self.deleted.items() if key not in texts} | dict.fromkeys(gone, version)
        forgotten = self.forgotten
        for key in list(deleted)[: max(0, len(deleted) - self.kept)]:
            forgotten = max(forgotten, deleted.pop(key))
        return replace(self, version=version, changed=now, entries=entries, deleted=deleted, forgotten=forgotten)

    def since(self, version: int) -> tuple[dict[str, Entry], list[str]]:
        """What is new after a version, and the keys that have gone. Raises LookupError where that is not known."""
        if version > self.version:
            raise LookupError(f"there is no version {version} yet, the last is {self.version}; read the whole state")
        if version < self.forgotten:
            raise LookupError(
                f"what was deleted before version {self.forgotten} is no longer kept; read the whole state"
            )
        new = {key: entry for key, entry in self.entries.items() if entry.version > version}
        return new, [key for key, then in self.deleted.items() if then > version]

    def to_text(self) -> str:
        """All of it as JSON."""
        return json.dumps(
            {
                "epoch": self.epoch,
                "changed": self.changed,
                "version": self.version,
                "entries": {key: [entry.text, entry.version] for key, entry in self.entries.items()},
                "deleted": dict(self.deleted),
                "forgotten": self.forgotten,
            },
            allow_nan=False,
        )

    @classmethod
    def from_text(cls, text: str) -> Versioned:
        """The inverse of :meth:`to_text`. Raises ValueError or KeyError for a text that it does not write."""
        read = json.loads(text)
        if not isinstance(read, dict):
            raise ValueError("a versioned state is an object of JSON")
        return cls(
            epoch=str(read["epoch"]),
            changed=float(read["changed"]),
            version=int(read["version"]),
            entries={key: Entry(str(value), int(version)) for key, (value, version) in read["entries"].items()},
            deleted={key: int(version) for key, version in read["deleted"].items()},
            forgotten=int(read["forgotten"]),
        )
