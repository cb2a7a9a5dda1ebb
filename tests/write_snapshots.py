"""Writes what the machines render to tests/nodes: `make snapshots`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import nix

NODES = Path(__file__).resolve().parent / "nodes"


def is_link(path: Path) -> bool:
    """Whether a rendered path stands for a link to a unit."""
    return path.parent.suffix in (".wants", ".requires")


def write(snapshots: dict[str, dict[str, str]], directory: Path) -> None:
    """Replace directory by {machine: {path: text}}."""
    if directory.exists():
        shutil.rmtree(directory)
    for machine, files in snapshots.items():
        for name, text in files.items():
            path = directory / machine / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if is_link(path):
                path.symlink_to(text)
            else:
                path.write_text(text)


def main() -> int:
    """Evaluate the flake and write; nothing is touched when it does not evaluate."""
    try:
        evaluated = nix.run("eval", "--json", f"{nix.flake()}#lib.snapshots")
    except FileNotFoundError as missing:
        print(missing, file=sys.stderr)
        return 1
    if evaluated.returncode:
        print(evaluated.stderr, file=sys.stderr)
        return 1
    write(json.loads(evaluated.stdout), NODES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
