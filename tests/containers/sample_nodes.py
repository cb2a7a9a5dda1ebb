"""Nodes without Ray for the driver's own tests."""

from __future__ import annotations

from pathlib import Path

ECHO = """\
[Unit]
Description=Says where it runs

[Service]
Environment=PATH=/nix/store/coreutils/bin WHERE={where}
ExecStart=/nix/store/bash/bin/bash -c 'id -un > /run/echo/user; echo $WHERE > /run/echo/where; exec sleep infinity'
RuntimeDirectory=echo
RuntimeDirectoryMode=0755
User=guest
ProtectSystem=strict
"""
FROZEN = """\
[Service]
{extra}
ExecStart=/nix/store/coreutils/bin/sleep infinity
"""
LISTEN = """\
[Service]
ExecStart=/nix/store/ray-env/bin/python3 -m http.server {port}
DynamicUser=yes
ProtectHome=yes
"""


def write_node(directory: Path, address: str, units: dict[str, str], allowed: str = "8001") -> Path:
    """A snapshot with units that multi-user.target wants, one address and one open port."""
    system = directory / "etc/systemd/system"
    (system / "multi-user.target.wants").mkdir(parents=True)
    for name, text in units.items():
        (system / name).write_text(text)
        (system / "multi-user.target.wants" / name).symlink_to(f"../{name}")
    for place, text in {
        "etc/systemd/network/10-wire0.network": f"[Match]\nName=wire0\n\n[Network]\nAddress={address}/24\n",
        "etc/sysusers.d/guest.conf": 'g guest -\nu guest -:guest "Guest" /home/guest\n',
        "etc/profile.d/guest.sh": "export PATH=/nix/store/ray-env/bin:$PATH GREETING=hello\n",
        "etc/nftables.d/test.nft": f'iifname "wire0" ip saddr {{ 10.9.0.0/24 }} tcp dport {{ {allowed} }} accept\n',
    }.items():
        (directory / place).parent.mkdir(parents=True, exist_ok=True)
        (directory / place).write_text(text)
    return directory


def write_nodes(directory: Path) -> Path:
    """Two nodes; `first` can switch to a configuration in which some things are different."""
    listeners = {f"listen-{port}.service": LISTEN.format(port=port) for port in (8001, 8002)}
    common = {"steady.service": FROZEN.format(extra="# the same in both")}
    plain = {
        "echo.service": ECHO.format(where="plain"),
        "frozen.service": FROZEN.format(extra="X-RestartIfChanged=false\nEnvironment=A=1"),
        "old.service": FROZEN.format(extra=""),
    }
    other = {
        "echo.service": ECHO.format(where="other"),
        "frozen.service": FROZEN.format(extra="X-RestartIfChanged=false\nEnvironment=A=2"),
        "new.service": FROZEN.format(extra=""),
    }
    write_node(directory / "first", "10.9.0.1", {**common, **listeners, **plain})
    write_node(directory / "first.other", "10.9.0.1", {**common, **listeners, **other}, allowed="8001, 8002")
    write_node(directory / "second", "10.9.0.2", common)
    return directory
