"""A node of tests/nodes: its configurations, and how they get into a container's root file system."""

from __future__ import annotations

import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from . import store
from .network import LONGEST_NAME
from .switch import DIRECTORY, lay

# As NixOS's firewall with nftables: what is not allowed is dropped without an answer.
_FIREWALL = """\
flush ruleset
table inet firewall {
  chain input {
    type filter hook input priority filter; policy drop;
    iifname lo accept
    ct state vmap { invalid : drop, established : accept, related : accept, new : jump input-allow }
  }
  chain input-allow {
    icmp type echo-request accept
    icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
    include "/etc/nftables.d/*.nft"
  }
}
"""
_FSTAB = "tmpfs /dev/shm tmpfs nosuid,nodev,strictatime,mode=1777,size=2G 0 0\n"
_SWITCH = f"""\
#!/bin/sh
exec {store.RAY_ENV}/bin/python3 -SsE /{DIRECTORY}/switch.py %s "$@"
"""


@dataclass(frozen=True)
class Node:
    """A machine's name, what it boots with, and the configurations that it can switch to."""

    name: str
    base: Path
    specialisations: dict[str, Path]

    @property
    def configurations(self) -> list[Path]:
        return [self.base, *self.specialisations.values()]


def load(nodes: Path) -> dict[str, Node]:
    """All nodes of a directory by name; NAME.SPEC beside NAME is a specialisation of it."""
    directories = sorted(path for path in nodes.iterdir() if path.is_dir())
    found = {path.name: Node(path.name, path, {}) for path in directories if "." not in path.name}
    for path in directories:
        name, dot, specialisation = path.name.partition(".")
        if dot:
            if name not in found:
                raise ValueError(f"{path} is a specialisation of {name}, and there is no {nodes / name}")
            found[name].specialisations[specialisation] = path
    return found


def networks(node: Node) -> list[str]:
    """The networks that a node has an interface on: the `Name=` of its .network files."""
    names: set[str] = set()
    for configuration in node.configurations:
        for path in configuration.glob("etc/systemd/network/*.network"):
            names.update(re.findall(r"(?m)^Name=(.*)$", path.read_text().partition("[Network]")[0]))
    for name in names:
        if not re.fullmatch(rf"[A-Za-z0-9_.-]{{1,{LONGEST_NAME}}}", name):
            raise ValueError(
                f"{node.name}: network Name={name!r} is no interface's name of 1 to {LONGEST_NAME} characters"
            )
    return sorted(names)


def added_files(configuration: Path) -> dict[str, str]:
    """What Debian needs besides a snapshot to be the machine that it describes: {path: text}."""
    added = {}
    if not (configuration / "etc/fstab").exists():
        added["etc/fstab"] = _FSTAB
    if (configuration / "etc/nftables.d").is_dir():
        added["etc/nftables.conf"] = _FIREWALL
    homes = [
        re.findall(r'(?m)^u (\S+) .*"[^"]*" (/home/\S+)', path.read_text())
        for path in sorted(configuration.glob("etc/sysusers.d/*.conf"))
    ]
    lines = [f"d {home} 0700 {user} {user}\n" for users in homes for user, home in users]
    if lines:
        added["etc/tmpfiles.d/homes.conf"] = "".join(lines)
    return added


def write(node: Node, root: Path) -> None:
    """Fill the empty directory root with what a node has over the image, ready to boot."""
    root.chmod(0o755)
    names = set().union(*(store.named_packages(configuration) for configuration in node.configurations))
    store.lay_packages(names, root)
    _write_own(root / "etc/hostname", node.name + "\n")
    _write_own(root / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n127.0.0.2 {node.name}\n")
    _write_own(root / "etc/machine-id", uuid.uuid4().hex + "\n")
    driver = root / DIRECTORY
    driver.mkdir(parents=True)
    shutil.copyfile(Path(__file__).with_name("switch.py"), driver / "switch.py")
    system = driver / "system"
    for name, path, place in (
        ("base", node.base, system),
        *((name, path, system / "specialisation" / name) for name, path in node.specialisations.items()),
    ):
        _write_configuration(path, driver / "configurations" / name)
        switch = place / "bin" / "switch-to-configuration"
        _write_own(switch, _SWITCH % name)
        switch.chmod(0o755)
    links = "".join(f"L+ /run/{name}-system - - - - /{DIRECTORY}/system\n" for name in ("booted", "current"))
    _write_own(root / "etc/tmpfiles.d/system.conf", links)
    # Nobody reads the console: once it is full of "a start job is running", process 1 would wait for a reader.
    _write_own(root / "etc/systemd/system.conf.d/console.conf", "[Manager]\nShowStatus=no\n")
    boot_with_base(root)


def boot_with_base(root: Path) -> None:
    """Undo a switch: the next boot is with the configuration that the node has by itself."""
    lay(root / DIRECTORY / "configurations" / "base", root)


def _write_configuration(snapshot: Path, target: Path) -> None:
    shutil.copytree(snapshot, target, symlinks=True)
    for path, text in added_files(snapshot).items():
        _write_own(target / path, text)
    if (target / "etc/nftables.conf").exists():
        link = target / "etc/systemd/system/sysinit.target.wants/nftables.service"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/usr/lib/systemd/system/nftables.service")


def _write_own(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
