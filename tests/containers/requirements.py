"""What a machine must have to run containers, and what of it is missing here, in sentences."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

from . import cgroup, workspace

# Program: the Debian package that has it.
_PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
_INSTALL_TIMEOUT = 600
# Kernel features, tried where nothing of the host is touched.
_PROBE = """
set -e
nft add table inet probe || { echo "nftables does not work here: load the kernel module nf_tables"; exit 1; }
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/usr,upperdir=$1/upper,workdir=$1/work" "$1/root" ||
    { echo "overlayfs does not work on $1: put it on a file system that can be its upper one, such as ext4"; exit 1; }
"""


def missing(*, install: bool = True) -> list[str]:
    """Why containers cannot run here; empty when they can.

    On Debian and Ubuntu root gets missing programs installed first, unless install is False.
    """
    if not sys.platform.startswith("linux"):
        return [f"containers need Linux, this is {sys.platform}"]
    if os.geteuid() != 0:
        return ["containers need root: run the tests as root, or with sudo"]
    found = []
    lacking = _lacking()
    if lacking and install and shutil.which("apt-get"):
        _apt_install(sorted(set(lacking.values())))
        lacking = _lacking()
    found += [f"{program} is missing: install {package}" for program, package in lacking.items()]
    if cgroup.root() is None:
        found.append("cgroup v2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup")
    return found or _probe()


def missing_for_scenarios() -> list[str]:
    """Why scenarios cannot run here: as missing, and they need Ray in this Python."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("cognitive_actors") is None:
        return [f"Ray and cognitive_actors are not in {sys.prefix}: pip install -e python"]
    return missing()


def _lacking() -> dict[str, str]:
    return {program: package for program, package in _PROGRAMS.items() if shutil.which(program) is None}


def _apt_install(packages: list[str]) -> None:
    print(f"installing {', '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        command = ["apt-get", "--quiet", *arguments]
        subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_INSTALL_TIMEOUT
        )


def _probe() -> list[str]:
    directory = workspace.BASE / f".ray-nixos-probe-{os.getpid()}"
    directory.mkdir()
    try:
        isolate = [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--net",
            "sh",
            "-c",
            _PROBE,
            "probe",
            str(directory),
        ]
        done = subprocess.run(isolate, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    finally:
        shutil.rmtree(directory)
    if done.returncode == 0:
        return []
    return [done.stdout.strip() or f"no namespaces for mounts and network: {done.stderr.strip()}"]
