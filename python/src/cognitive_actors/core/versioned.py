"""Keys and values with one version for all of them: what changed since when, and what it is called by.

A value is a text, which nothing here looks into. State goes in and new state comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .roster import pack_names, unpack_names

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

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays: what a checkpoint stores."""
        texts = {
            "epoch": [self.epoch],
            "keys": list(self.entries),
            "texts": [entry.text for entry in self.entries.values()],
            "deleted": list(self.deleted),
        }
        packed = {f"{name}.{part}": x for name, some in texts.items() for part, x in pack_names(some).items()}
        return {
            **packed,
            "changed": np.array(self.changed, dtype=np.float64),
            "versions": np.array([entry.version for entry in self.entries.values()], dtype=np.int64),
            "deleted_versions": np.array(list(self.deleted.values()), dtype=np.int64),
            "counts": np.array([self.version, self.forgotten], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Versioned:
        """The inverse of :meth:`to_arrays`. Raises ValueError or KeyError for arrays that do not fit."""

        def texts(name: str) -> list[str]:
            return unpack_names({part: arrays[f"{name}.{part}"] for part in ("names", "name_lengths")})

        (epoch,), (version, forgotten) = texts("epoch"), arrays["counts"].tolist()
        rows = zip(texts("keys"), texts("texts"), arrays["versions"].tolist(), strict=True)
        deleted = zip(texts("deleted"), arrays["deleted_versions"].tolist(), strict=True)
        entries = {key: Entry(text, then) for key, text, then in rows}
        return cls(epoch, float(arrays["changed"]), version, entries, dict(deleted), forgotten)
