"""Inside a container: what `switch-to-configuration test` of NixOS does, for the files of a snapshot.

Stops units that are gone, restarts those whose text is another one, starts what is newly wanted, and leaves the rest
alone. Of the standard library only, because it is copied into each container.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

DIRECTORY = "usr/lib/ray-nixos"
_LAID = f"{DIRECTORY}/laid"
_UNITS = "etc/systemd/system"
_TIMEOUT = 300
# Changes of these lines do not restart a unit, as in NixOS.
_IGNORED = ("Description=", "Documentation=", "X-Reload-Triggers=")


def files(configuration: Path) -> dict[str, Path]:
    """The files and links of a configuration by the path that they have in a root file system."""
    found = (path for path in configuration.rglob("*") if path.is_symlink() or path.is_file())
    return {str(path.relative_to(configuration)): path for path in found}


def laid(root: Path) -> list[str]:
    """The paths that the configuration before has laid."""
    manifest = root / _LAID
    return manifest.read_text().splitlines() if manifest.exists() else []


def lay(configuration: Path, root: Path) -> None:
    """Lay a configuration over a root file system, and take away what the one before had laid and this one lacks."""
    new = files(configuration)
    for path in set(laid(root)) - set(new):
        (root / path).unlink(missing_ok=True)
    for path, source in new.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Whole or not at all: systemd may read it at any moment.
        partial = target.with_name(f".{target.name}.new")
        partial.unlink(missing_ok=True)
        if source.is_symlink():
            partial.symlink_to(os.readlink(source))
        else:
            partial.write_bytes(source.read_bytes())
            partial.chmod(source.stat().st_mode & 0o777)
        partial.replace(target)
    (root / _LAID).write_text("".join(f"{path}\n" for path in sorted(new)))


def units(present: dict[str, Path]) -> dict[str, str]:
    """The units among files, with the text of their drop-ins."""
    found: dict[str, str] = {}
    for path in sorted(present):
        place, _, name = path.rpartition("/")
        if place == _UNITS and not present[path].is_symlink():
            found[name] = found.get(name, "") + present[path].read_text()
        elif place.startswith(f"{_UNITS}/") and place.endswith(".d"):
            unit = place.rpartition("/")[2].removesuffix(".d")
            found[unit] = found.get(unit, "") + present[path].read_text()
    return found


def wanted(present: dict[str, Path], active: set[str]) -> list[str]:
    """The units that active targets want or require."""
    found = set()
    for path in present:
        place, _, name = path.rpartition("/")
        target = place.rpartition("/")[2]
        if target.endswith((".wants", ".requires")) and target.rpartition(".")[0] in active:
            found.add(name)
    return sorted(found)


@dataclass
class Plan:
    """What is to be done with units."""

    stop: list[str] = field(default_factory=list)
    skip: list[str] = field(default_factory=list)
    reload: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)


def _says(text: str, key: str, value: str) -> bool:
    return f"{key}={value}" in (line.strip().replace(" ", "") for line in text.splitlines())


def _essence(text: str) -> list[str]:
    return [line for line in text.partition("[Install]")[0].splitlines() if not line.startswith(_IGNORED)]


def _triggers(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("X-Reload-Triggers=")]


def plan(old: dict[str, str], new: dict[str, str], active: set[str]) -> Plan:
    """What a switch from old to new units does with those that are active."""
    made = Plan()
    for name in sorted(active & set(old)):
        if name not in new:
            if not _says(old[name], "X-StopOnRemoval", "false"):
                made.stop.append(name)
        elif _essence(old[name]) == _essence(new[name]) or name.endswith(".target"):
            if _triggers(old[name]) != _triggers(new[name]):
                made.reload.append(name)
        elif _says(new[name], "X-ReloadIfChanged", "true"):
            made.reload.append(name)
        elif _says(new[name], "X-RestartIfChanged", "false") or _says(new[name], "RefuseManualStop", "true"):
            made.skip.append(name)
        elif _says(new[name], "X-StopIfChanged", "false"):
            made.restart.append(name)
        else:
            made.stop.append(name)
            made.start.append(name)
    return made


def _run(*command: str) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, timeout=_TIMEOUT).returncode == 0


def _units(verb: str, said: str, names: list[str]) -> bool:
    if not names:
        return True
    print(f"{said}: {', '.join(names)}", flush=True)
    return not verb or _run("systemctl", verb, "--", *names)


def _active() -> set[str]:
    command = ["systemctl", "list-units", "--plain", "--no-legend", "--full", "--state=active,activating,reloading"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT).stdout
    return {line.split()[0] for line in listed.splitlines() if line.split()}


def _activate(changed: set[str]) -> bool:
    """Apply what is no unit."""
    print("activating the configuration...", flush=True)

    def touched(prefix: str) -> bool:
        return any(path.startswith(prefix) for path in changed)

    good = True
    if touched("etc/sysusers.d/"):
        good &= _run("systemd-sysusers")
    if touched("etc/tmpfiles.d/"):
        good &= _run("systemd-tmpfiles", "--create")
    if touched("etc/nftables") and "nftables.service" in _active():
        good &= _run("systemctl", "reload", "nftables.service")
    if touched("etc/systemd/network/"):
        good &= _run("networkctl", "reload")
    if touched("etc/fstab"):
        good &= _run("mount", "--options", "remount", "/dev/shm")
    return good


def switch(configuration: Path, root: Path) -> int:
    """Make a configuration the running one; 4 when a unit did not do what it should, as in NixOS."""
    before = {path: root / path for path in laid(root) if (root / path).is_symlink() or (root / path).exists()}
    after = files(configuration)
    changed = {path for path in set(before) | set(after) if _content(before.get(path)) != _content(after.get(path))}
    made = plan(units(before), units(after), _active())
    good = _units("stop", "stopping the following units", made.stop)
    _units("", "NOT restarting the following changed units", made.skip)
    lay(configuration, root)
    good &= _run("systemctl", "daemon-reload")
    good &= _activate(changed)
    good &= _units("reload", "reloading the following units", made.reload)
    good &= _units("restart", "restarting the following units", made.restart)
    good &= _units("start", "starting the following units", made.start)
    active = _active()
    fresh = [name for name in wanted(after, active) if name not in active]
    good &= _units("start", "the following new units were started", fresh)
    if not good:
        print("warning: not every unit is as it should be; see `systemctl --failed`", file=sys.stderr)
    return 0 if good else 4


def _content(path: Path | None) -> bytes | None:
    if path is None:
        return None
    return os.readlink(path).encode() if path.is_symlink() else path.read_bytes()


def main(arguments: list[str]) -> int:
    """`switch.py CONFIGURATION test`."""
    if len(arguments) != 2 or arguments[1] != "test":
        print(
            "containers know `switch-to-configuration test` only: after a reboot the old one is back", file=sys.stderr
        )
        return 2
    return switch(Path("/") / DIRECTORY / "configurations" / arguments[0], Path("/"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
