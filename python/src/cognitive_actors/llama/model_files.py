"""The model files that this machine reaches, and what each of them takes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from ..placement import ModelSizes, ModelUnfit, read_sizes
from .reports import ModelReport

__all__ = ["ModelFiles"]

#: Kinds of file systems that other machines keep.
_REMOTE = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "smb3"),
    *("smbfs", "fuse.ceph-fuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"),
}


class _Read(NamedTuple):
    """stamp: of the file when it was read, in nanoseconds, and its bytes."""

    stamp: tuple[int, int]
    sizes: ModelSizes | None
    unfit: str | None


class ModelFiles:
    """named: paths by name; folders: each ``*.gguf`` directly inside one is a model by the name of its file.

    A name that is given wins over that of a file, and of two folders with a file of one name the first.
    """

    def __init__(self, named: Mapping[str, Path], folders: Sequence[Path] = ()) -> None:
        self._named = dict(named)
        self._folders = [folder.absolute() for folder in folders]
        self._known: dict[Path, _Read] = {}

    def look(self) -> tuple[ModelReport, ...]:
        """The files that are there now, by name. One is read again only where its time or its size is another."""
        found = self._named.copy()
        for folder in self._folders:
            for path in _inside(folder):
                found.setdefault(path.stem, path)
        remote = _remote_places()
        reports = [self._report(name, path, remote) for name, path in sorted(found.items())]
        self._known = {path: read for path, read in self._known.items() if path in found.values()}
        return tuple(report for report in reports if report is not None)

    def _report(self, name: str, path: Path, remote: Mapping[str, bool]) -> ModelReport | None:
        try:
            status = path.stat()
            stamp = status.st_mtime_ns, status.st_size
            read = self._known.get(path)
            if read is None or read.stamp != stamp:
                read = self._known[path] = _read(path, stamp)
            sizes, unfit = read.sizes, read.unfit
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            # Not kept: permissions change neither time nor size.
            sizes, unfit = None, f"{path}: {error.strerror}; let this program's user read it"
        return ModelReport(name, str(path), _shared(path, remote), sizes, unfit)


def _read(path: Path, stamp: tuple[int, int]) -> _Read:
    try:
        return _Read(stamp, read_sizes(path), None)
    except ModelUnfit as error:
        return _Read(stamp, None, str(error))


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".gguf" and not path.is_dir())
    except OSError:
        return []


def _remote_places() -> dict[str, bool]:
    """Where file systems are mounted, and whether other machines keep them."""
    return {place.mountpoint: place.fstype in _REMOTE for place in psutil.disk_partitions(all=True)}


def _shared(path: Path, remote: Mapping[str, bool]) -> bool:
    """Whether the file is read over the network, wherever links lead."""
    real = Path(os.path.realpath(path))
    return next((remote[str(place)] for place in (real, *real.parents) if str(place) in remote), False)
