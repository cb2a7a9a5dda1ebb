"""The root file system that all machines share: Debian with systemd, made once and cached."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SUITE = "trixie"
_PACKAGES = (
    # A machine, and what scenarios look at it with.
    *("systemd", "systemd-sysv", "dbus", "iproute2", "iputils-ping", "nftables", "procps", "psmisc", "util-linux"),
    *("curl", "ca-certificates", "netcat-openbsd", "gawk", "tzdata", "openssl", "redis-server"),
    # What the extension modules of a Python made elsewhere are linked to.
    *("libssl3t64", "libffi8", "libsqlite3-0", "zlib1g", "libbz2-1.0", "liblzma5", "libzstd1", "libreadline8t64"),
    *("libncursesw6", "libuuid1", "libexpat1", "libgdbm6t64", "libgomp1", "libstdc++6", "libgcc-s1", "libatomic1"),
)
_MASKED = (
    *("console-getty.service", "getty@.service", "container-getty@.service", "getty.target"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer"),
    # Debian's own instance of Redis; machines run theirs.
    "redis-server.service",
)
_HOOKS = (
    # Of the machine that makes the image; each node has its own.
    'rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1/etc/machine-id" "$1/etc/fstab"',
    'chroot "$1" systemctl enable systemd-networkd.service',
    f'chroot "$1" systemctl mask {" ".join(_MASKED)}',
    # The journal of a machine outlives its crash, and Ray says more at its start than the default lets through.
    'mkdir -p "$1/etc/systemd/journald.conf.d" && printf "[Journal]\\nStorage=persistent\\nRateLimitBurst=0\\n" '
    '> "$1/etc/systemd/journald.conf.d/persistent.conf"',
)
_TIMEOUT = 900


def recipe() -> list[str]:
    """The command that makes the image, without the directory."""
    hooks = [f"--customize-hook={hook}" for hook in _HOOKS]
    return ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}", *hooks, SUITE]


def cache() -> Path:
    """Where images lie; each is named by its recipe."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ray-nixos" / "containers"


def ensure() -> Path:
    """The image's directory; it is made when there is none yet. Raises RuntimeError when that fails."""
    digest = hashlib.sha256("\0".join(recipe()).encode()).hexdigest()[:16]
    finished = cache() / digest
    if finished.is_dir():
        return finished
    finished.parent.mkdir(parents=True, exist_ok=True)
    with open(finished.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.is_dir():
            _make(finished)
    return finished


def _make(finished: Path) -> None:
    partial = finished.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["nice", *recipe(), str(partial)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT)
    if done.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise RuntimeError(f"the root file system could not be made:\n{done.stderr[-4000:]}\n  {' '.join(command)}")
    partial.chmod(0o755)
    partial.rename(finished)
