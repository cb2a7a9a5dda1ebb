"""Checkpoints in Redis: one hash for each key, one field for each generation.

Every change is one transaction (WATCH, MULTI, EXEC): it happens whole, or not at all where another writer came first.
How much of it survives a power cut is Redis' own setting: ``appendfsync always`` for all of it. A server that evicts
keys (``maxmemory-policy`` other than ``noeviction``) evicts checkpoints as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .location_text import without_password
from .medium import Medium, StoreUnavailable

#: Where the password is looked for if the URL has none: the path of a file that holds it, or itself.
PASSWORD_FILE = "COGNITIVE_REDIS_PASSWORD_FILE"
PASSWORD = "COGNITIVE_REDIS_PASSWORD"
#: Seconds to wait for a connection and for an answer.
_CONNECT, _ANSWER = 5.0, 30.0
_PREFIX = b"cognitive-actors:checkpoint:"


class RedisMedium(Medium):
    """One database of a Redis server. Raises ValueError for a URL or a password file that is none."""

    def __init__(self, url: str) -> None:
        self.where = without_password(url)
        try:
            import redis
        except ImportError:
            raise ValueError(f"{self.where}: the Redis client is missing; install cognitive-actors[redis]") from None
        self._errors = redis.exceptions
        password = _password()
        try:
            self._client: Any = redis.Redis.from_url(
                url, password=password, socket_connect_timeout=_CONNECT, socket_timeout=_ANSWER
            )
        except ValueError:
            # Chained or quoted, the client's error would show parts of a password that holds "/" or ":".
            raise ValueError(
                f"{self.where} is no URL of Redis; write redis://HOST:PORT/DATABASE or rediss://...,"
                " the special characters of a password as %XX"
            ) from None

    def generations(self, key: str) -> list[int]:
        with self._answering("not read"):
            return _numbers(self._client.hkeys(_name(key)))

    def read(self, key: str, generation: int) -> bytes:
        with self._answering("not read"):
            content = self._client.hget(_name(key), str(generation))
        if content is None:
            raise FileNotFoundError(generation)
        return bytes(content)

    def add(self, key: str, generation: int, content: bytes, kept: int) -> bool:
        name = _name(key)
        with self._answering("not saved"):
            try:
                with self._client.pipeline(transaction=True) as transaction:
                    transaction.watch(name)
                    numbers = _numbers(transaction.hkeys(name))
                    if max(numbers, default=0) != generation - 1:
                        return False
                    transaction.multi()
                    transaction.hset(name, str(generation), content)
                    if old := [str(number) for number in numbers if number <= generation - kept]:
                        transaction.hdel(name, *old)
                    transaction.execute()
            except self._errors.WatchError:
                # The client also says so where the connection broke, perhaps after the transaction was done.
                return bool(self._client.hget(name, str(generation)) == content)
        return True

    def keys(self) -> list[str]:
        with self._answering("not read"):
            names = {bytes(name) for name in self._client.scan_iter(match=_PREFIX + b"*", count=1000)}
            return sorted(
                name.removeprefix(_PREFIX).decode("utf-8", "surrogatepass")
                for name in names
                if _numbers(self._client.hkeys(name))
            )

    def forget(self, key: str) -> None:
        with self._answering("not removed"):
            self._client.delete(_name(key))

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._errors.RedisError as error:
            said = str(error)
            full = isinstance(error, self._errors.OutOfMemoryError) or "MISCONF" in said
            remedy = (
                "free memory or disk of the server; the generations saved earlier are still there"
                if full
                else f"check the address, that Redis answers, and the password (in the file that {PASSWORD_FILE} names)"
            )
            raise StoreUnavailable(f"{self.where}: {what}: {said}; {remedy}") from None


def _name(key: str) -> bytes:
    return _PREFIX + key.encode("utf-8", "surrogatepass")


def _numbers(fields: list[bytes]) -> list[int]:
    return [int(field) for field in fields if field.isdigit() and len(field) < 20]


def _password() -> str | None:
    """The password from the surroundings; one in the URL takes its place."""
    path = os.environ.get(PASSWORD_FILE)
    if not path:
        return os.environ.get(PASSWORD) or None
    try:
        return Path(path).read_text().strip() or None
    except OSError as error:
        raise ValueError(f"{PASSWORD_FILE} is {path}: {error.strerror}; write a file that can be read") from None
