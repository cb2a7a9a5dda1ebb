"""Checkpoints in a directory: one folder for each key, one file for each generation.

No lock is held, because a writer that hangs must not keep its successor out. A file takes its name by a hard link,
which fails where the name is taken: of two writers of one generation, one is told.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..atomic import sync_directory
from ..checkpoint import load_arrays
from ..errors import CheckpointError
from .medium import Medium, StoreUnavailable, Unreadable
from .names import decode_key, encode_key, generation_name, generation_number, was_cut

_UNFINISHED = ".unfinished-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class DirectoryMedium(Medium):
    """A directory of a local or shared file system that has hard links. It is made when first written."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self.where = str(self.directory)

    def generations(self, key: str) -> list[int]:
        return self._numbers(self._folder(key))

    def read(self, key: str, generation: int) -> bytes:
        path = self._folder(key) / generation_name(generation)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in (errno.EIO, errno.EISDIR):
                raise Unreadable(f"{path}: {error.strerror}") from None
            raise StoreUnavailable(f"{path}: {error.strerror or error}; make it readable, and try again") from None

    def add(self, key: str, generation: int, content: bytes, kept: int) -> bool:
        folder = self._folder(key)
        target = folder / generation_name(generation)
        with self._writing(target):
            self._make(folder)
            temporary = folder / f".{generation}{_UNFINISHED}{secrets.token_hex(6)}"
            try:
                _write(temporary, content)
                os.link(temporary, target)
            except (FileExistsError, FileNotFoundError):
                # Taken, or so late that a newer writer has cleared our file away.
                return False
            finally:
                temporary.unlink(missing_ok=True)
            sync_directory(folder)
        newest = max(self._numbers(folder), default=generation)
        self._drop(folder, newest - kept)
        # Else it is gone again, or its name was free because it had been dropped before: what counts is newer.
        return generation > newest - kept

    def keys(self) -> list[str]:
        try:
            folders = [path for path in self.directory.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnavailable(f"{self.where}: {error.strerror or error}; make it readable") from None
        found = (self._key(folder) for folder in folders if self._numbers(folder))
        return sorted(key for key in found if key is not None)

    def forget(self, key: str) -> None:
        with suppress(FileNotFoundError), self._writing(self._folder(key)):
            shutil.rmtree(self._folder(key))
            sync_directory(self.directory)

    def _folder(self, key: str) -> Path:
        return self.directory / encode_key(key)

    def _key(self, folder: Path) -> str | None:
        if not was_cut(folder.name):
            return decode_key(folder.name)
        for number in sorted(self._numbers(folder), reverse=True):
            with suppress(CheckpointError):
                key = load_arrays(folder / generation_name(number))[1].get("key")
                if isinstance(key, str) and encode_key(key) == folder.name:
                    return key
        return None

    def _numbers(self, folder: Path) -> list[int]:
        try:
            names = os.listdir(folder)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreUnavailable(f"{folder}: {error.strerror or error}; make it readable, and try again") from None
        return [number for number in map(generation_number, names) if number is not None]

    def _make(self, folder: Path) -> None:
        # Else a power cut could take the folder with the first generation in it.
        for directory in (self.directory, folder):
            if not directory.is_dir():
                directory.mkdir(parents=True, exist_ok=True)
                sync_directory(directory.parent)

    def _drop(self, folder: Path, last: int) -> None:
        """Remove generations up to ``last``, and what writers of those left behind when they were killed."""
        with suppress(FileNotFoundError):
            for path in list(folder.iterdir()):
                begun = path.name[1:].partition(_UNFINISHED)
                mark = begun[0] if path.name.startswith(".") and begun[1] else ""
                number = int(mark) if mark.isdecimal() else generation_number(path.name)
                if number is not None and number <= last:
                    with suppress(OSError):
                        path.unlink()

    @contextmanager
    def _writing(self, target: Path) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _FULL:
                remedy = "free some space, or write another directory; the generations saved earlier are still there"
            elif error.errno in _NO_LINKS:
                remedy = "write a directory that you may write to, on a file system that has hard links"
            else:
                remedy = "write a directory that can be written"
            raise StoreUnavailable(f"{target}: not saved: {error.strerror or error}; {remedy}") from None


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
