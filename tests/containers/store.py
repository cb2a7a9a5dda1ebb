"""What stands at /nix/store in a container: the packages that snapshots name, taken from Debian and from this Python.

Snapshots name packages without hash and version. The Python environment is that of the interpreter that runs the
driver. It is bound, not copied, and at other paths: the interpreter may lie where only root may enter.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

STORE = "/nix/store"
PYTHON = f"{STORE}/python3"
RAY_ENV = f"{STORE}/ray-env"
RAY_NODE = f"{STORE}/ray-node"
LLAMA = f"{STORE}/llama-cpp"
SUPERVISOR = Path(__file__).resolve().parents[2] / "pkgs" / "ray-node"

_PROGRAMS = {"bin": "/usr/bin", "sbin": "/usr/sbin"}
# Name of a package: its directories, and what of Debian stands for them.
PACKAGES: dict[str, dict[str, str]] = {
    **dict.fromkeys(
        (
            *("bash", "coreutils", "curl", "findutils", "gawk", "gnugrep", "gnused", "gnutar", "gzip", "iproute2"),
            *("iputils", "netcat", "nftables", "openssl", "procps", "psmisc", "redis", "shadow", "systemd"),
            "util-linux",
        ),
        _PROGRAMS,
    ),
    "glibc-locales": {"lib/locale": "/usr/lib/locale"},
    "tzdata": {"share/zoneinfo": "/usr/share/zoneinfo"},
}
# Laid, or bound when a scenario runs what is in them.
_OWN = {"ray-env", "ray-node", "llama-cpp"}
_NAME = re.compile(re.escape(STORE) + r"/([A-Za-z0-9+._?=-]+)")


class UnknownPackage(ValueError):
    """A snapshot names a package that the container has nothing for."""


@dataclass(frozen=True)
class Bind:
    """A file or directory of this machine that is seen, read-only, at a path of the container."""

    source: Path
    target: str


def named_packages(directory: Path) -> set[str]:
    """The packages that the files of a snapshot name. Raises UnknownPackage for one that cannot be provided."""
    found = set()
    for path in sorted(path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()):
        for name in _NAME.findall(path.read_text(errors="replace")):
            if name not in PACKAGES and name not in _OWN:
                raise UnknownPackage(
                    f"{path} names {STORE}/{name}, and containers have nothing for it; "
                    f"add {name!r} to PACKAGES in {__file__}"
                )
            found.add(name)
    return found


def lay_packages(names: Iterable[str], root: Path) -> None:
    """Make the directories of packages in a root file system."""
    for name in set(names) - _OWN:
        for directory, target in PACKAGES[name].items():
            link = root / STORE.lstrip("/") / name / directory
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
    if "ray-node" in names:
        _lay_supervisor(root / RAY_NODE.lstrip("/"))
    library = _libpython()
    if library is not None:
        # The loader looks here last, without a cache; the interpreter's own RPATH leads to where it was made.
        link = root / "usr/lib" / library.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"{PYTHON}/lib/{library.name}")


def _lay_supervisor(directory: Path) -> None:
    """As pkgs/ray-node/package.nix installs it."""
    sources = [path for path in SUPERVISOR.glob("*.py") if not path.name.startswith("test_")]
    if not sources:
        raise FileNotFoundError(f"no *.py in {SUPERVISOR}: snapshots run them as {RAY_NODE}/*.py")
    directory.mkdir(parents=True)
    for path in sources:
        shutil.copyfile(path, directory / path.name)


def make_environment(directory: Path) -> list[Bind]:
    """Make the package ray-env in an empty directory, and say what it needs bound, itself included."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    binds = [
        Bind(directory, RAY_ENV),
        Bind(interpreter, f"{PYTHON}/bin/{version}"),
        Bind(Path(sysconfig.get_path("stdlib")), f"{PYTHON}/lib/{version}"),
    ]
    library = _libpython()
    if library is not None:
        binds.append(Bind(library, f"{PYTHON}/lib/{library.name}"))
    packages = [
        Bind(path, f"{STORE}/python-packages{number or ''}")
        for number, path in enumerate(dict.fromkeys(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")))
    ]
    editable = _editable_source([bind.source for bind in packages])
    _compile([bind.source for bind in packages])

    programs, site = directory / "bin", directory / "lib" / version / "site-packages"
    programs.mkdir()
    site.mkdir(parents=True)
    (directory / "pyvenv.cfg").write_text(f"home = {PYTHON}/bin\ninclude-system-site-packages = false\n")
    (programs / "python3").symlink_to(f"{PYTHON}/bin/{version}")
    (programs / "python").symlink_to("python3")
    lines = [f"import site; site.addsitedir({bind.target!r})" for bind in packages]
    if editable is not None:
        source, path = editable
        binds.append(source)
        lines.append(path)
    (site / "bound.pth").write_text("\n".join(lines) + "\n")
    _write_programs(programs)
    return binds + packages


def _write_programs(directory: Path) -> None:
    for entry in entry_points(group="console_scripts"):
        program = directory / entry.name
        text = f"import sys\n\nimport {entry.module} as module\n\nsys.exit(module.{entry.attr}())\n"
        program.write_text(f"#!{RAY_ENV}/bin/python3\n{text}")
        program.chmod(0o755)


def _libpython() -> Path | None:
    """The library that the interpreter is linked to, if it is not linked statically."""
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return None
    library = Path(str(sysconfig.get_config_var("LIBDIR"))) / str(sysconfig.get_config_var("INSTSONAME"))
    return library if library.is_file() else None


def _editable_source(installed: list[Path]) -> tuple[Bind, str] | None:
    """The project of cognitive_actors and the path to import it from, where it is installed editable."""
    spec = importlib.util.find_spec("cognitive_actors")
    places = [Path(place).parent for place in (spec.submodule_search_locations or [])] if spec else []
    place = next((place for place in places if place not in installed), None)
    if place is None:
        return None
    # The whole project: it finds its examples beside its sources.
    project = next((folder for folder in (place, *place.parents) if (folder / "pyproject.toml").is_file()), place)
    target = f"{STORE}/cognitive-actors"
    return Bind(project, target), str(Path(target) / place.relative_to(project))


def _compile(directories: list[Path]) -> None:
    """See that Ray has bytecode: a container cannot write it, and would compile 27 s long at each start."""
    for directory in directories:
        if (directory / "ray").is_dir() and not (directory / "ray" / "__pycache__").is_dir():
            command = [sys.executable, "-m", "compileall", "-q", "-j", "0", str(directory)]
            # Some packages ship templates that are no Python; their failure is not ours.
            subprocess.run(command, capture_output=True, timeout=900)
