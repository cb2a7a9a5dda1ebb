"""Which store a URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from .directory import DirectoryMedium
from .generations import CheckpointStore
from .in_redis import RedisMedium
from .location_text import without_password
from .objects import ObjectMedium


def open_store(url: str | Path) -> CheckpointStore:
    """The checkpoint store of a URL. Nothing is written, and no server asked, before it is used.

    url: a directory (``/path``, ``file:///path``; on a cluster one that every node shares), Redis (``redis://``,
    ``rediss://``; its password in the URL or, better, in the file that COGNITIVE_REDIS_PASSWORD_FILE names), or
    anything fsspec knows (``s3://bucket/folder``). ``memory://`` lives and dies with its process. Raises ValueError
    for a URL that names no store.
    """
    text = str(url)
    scheme, mark, _ = text.partition("://")
    if not text:
        raise ValueError("the checkpoint URL is empty; write a directory, redis://... or a URL of fsspec")
    if not mark:
        return CheckpointStore(DirectoryMedium(text))
    if scheme == "file":
        return CheckpointStore(DirectoryMedium(_local(text)))
    if scheme in ("redis", "rediss"):
        return CheckpointStore(RedisMedium(text))
    return CheckpointStore(ObjectMedium(text))


def _local(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise ValueError(f"{without_password(url)}: it names no path of this machine; write file:///path")
    return unquote(parts.path)
