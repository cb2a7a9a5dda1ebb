"""What a place must be able to do to hold generations of checkpoints."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ..errors import CheckpointError


class StaleWriter(CheckpointError):
    """Somebody else has saved the same key meanwhile; this writer's state must not replace theirs."""


class StoreUnavailable(CheckpointError):
    """The store cannot be read or written just now. What it holds may be whole."""


class Unreadable(Exception):
    """One generation cannot be read, although the store can: it is damaged, and an older one may stand in."""


class Medium(ABC):
    """Bytes by key and generation number. It knows nothing of what the bytes mean.

    Every method may raise StoreUnavailable. A name that a medium did not write itself is not listed.
    """

    #: The place in words, without any password.
    where: str

    @abstractmethod
    def generations(self, key: str) -> list[int]:
        """The numbers of the generations of a key, in any order; none for a key that was never saved."""

    @abstractmethod
    def read(self, key: str, generation: int) -> bytes:
        """The bytes of a generation. Raises FileNotFoundError if it is gone, Unreadable if the disk cannot read it."""

    @abstractmethod
    def add(self, key: str, generation: int, content: bytes, kept: int) -> bool:
        """Add the generation that follows the newest, whole or not at all, and drop all but the newest ``kept``.

        Returns False where another writer came first and nothing was added, or where this generation was added and
        newer ones have pushed it out already: then the state is to be added again, as the newest.
        """

    @abstractmethod
    def keys(self) -> list[str]:
        """The keys that have a generation, sorted."""

    @abstractmethod
    def forget(self, key: str) -> None:
        """Remove all generations of a key, if there are any."""
