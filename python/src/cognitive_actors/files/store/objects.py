"""Checkpoints in object storage and whatever else fsspec reaches: s3://, gs://, memory:// and so on.

A generation is one object under a name of its own, created only if the name is free. Object stores publish an object
whole or not at all; where a service does not, what was cut short fails its checksum and the generation before counts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..checkpoint import unpack_arrays
from ..errors import CheckpointError
from .location_text import without_password
from .medium import Medium, StoreUnavailable
from .names import decode_key, encode_key, generation_name, generation_number, was_cut

#: Where a folder is no more than the beginning of names: to make one could only make a bucket that nobody asked for.
_WITHOUT_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "oci"}
# In this process alone (memory://) there is no service that would keep two writers apart.
_lock = threading.Lock()


class ObjectMedium(Medium):
    """A folder of any file system that fsspec knows. Raises ValueError for a URL that it does not."""

    def __init__(self, url: str) -> None:
        import fsspec  # type: ignore[import-untyped]

        self.where = without_password(url)
        try:
            self._files: Any
            self._files, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise ValueError(f"{self.where}: {error}; install that package") from None
        except ValueError as error:
            raise ValueError(f"{self.where}: {error}; write a directory, redis://..., or a URL of fsspec") from None
        self._root = str(root).rstrip("/")
        protocol = self._files.protocol
        self._protocols = {protocol} if isinstance(protocol, str) else set(protocol)

    def generations(self, key: str) -> list[int]:
        return self._numbers(encode_key(key))

    def read(self, key: str, generation: int) -> bytes:
        with self._answering("not read"):
            return bytes(self._files.cat_file(self._path(encode_key(key), generation_name(generation))))

    def add(self, key: str, generation: int, content: bytes, kept: int) -> bool:
        folder = encode_key(key)
        with _lock, self._answering("not saved"):
            if not _WITHOUT_FOLDERS & self._protocols:
                self._files.makedirs(self._path(folder), exist_ok=True)
            try:
                self._files.pipe_file(self._path(folder, generation_name(generation)), content, mode="create")
            except FileExistsError:
                return False
        numbers = self._numbers(folder)
        newest = max(numbers, default=generation)
        for number in numbers:
            if number <= newest - kept:
                self._remove(self._path(folder, generation_name(number)))
        # The name was free because it had been dropped already: newer generations are what counts.
        return generation > newest - kept

    def keys(self) -> list[str]:
        found = (self._key(name) for name in self._names(self._root))
        return sorted(key for key in found if key is not None)

    def forget(self, key: str) -> None:
        folder = encode_key(key)
        for number in self._numbers(folder):
            self._remove(self._path(folder, generation_name(number)))

    def _key(self, folder: str) -> str | None:
        numbers = self._numbers(folder)
        if not was_cut(folder) or not numbers:
            return decode_key(folder) if numbers else None
        for number in sorted(numbers, reverse=True):
            path = self._path(folder, generation_name(number))
            with self._answering("not read"):
                content = bytes(self._files.cat_file(path))
            try:
                key = unpack_arrays(content, path)[1].get("key")
            except CheckpointError:
                continue
            if isinstance(key, str) and encode_key(key) == folder:
                return key
        return None

    def _path(self, *parts: str) -> str:
        return "/".join([self._root, *parts])

    def _numbers(self, folder: str) -> list[int]:
        return [number for number in map(generation_number, self._names(self._path(folder))) if number is not None]

    def _names(self, folder: str) -> list[str]:
        with self._answering("not read"):
            self._files.invalidate_cache(folder)
            try:
                return [str(path).rstrip("/").rpartition("/")[2] for path in self._files.ls(folder, detail=False)]
            except (FileNotFoundError, NotADirectoryError):
                return []

    def _remove(self, path: str) -> None:
        with self._answering("not removed"):
            try:
                self._files.rm_file(path)
            except FileNotFoundError:
                return

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            if what != "not read":
                raise StoreUnavailable(f"{self.where}: {what}: there is no such bucket or folder; make it") from None
            raise
        # Each service raises errors of its own; none of them says that a generation is damaged.
        except Exception as error:
            said = str(error).strip() or type(error).__name__
            raise StoreUnavailable(
                f"{self.where}: {what}: {said}; check the URL, the credentials and that the service answers"
            ) from None
