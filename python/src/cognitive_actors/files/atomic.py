"""Files that are there whole or not at all, also after a crash or a power cut."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_MARK = ".unfinished-"


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` when the block ends, and leaves no trace if it fails.

    The bytes and the directory entry are on the disk when this returns. Raises OSError where the disk refuses.
    """
    target = Path(path)
    # In the same directory, because a rename is only atomic within one file system. os.open instead of
    # tempfile, so that the file gets the permissions that the umask gives every other file.
    temporary = target.with_name(f".{target.name}{_MARK}{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(directory: str | Path) -> int:
    """Remove what a killed writer left behind; returns how many files. Call it only while nobody writes there."""
    leftovers = [path for path in Path(directory).glob(f".*{_MARK}*") if path.is_file()]
    for path in leftovers:
        path.unlink()
    return len(leftovers)
