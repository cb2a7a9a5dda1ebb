"""Where a Nix is that can evaluate this flake, and how it is called.

An installed `nix` takes the locked nixpkgs. Where there is none, a nixpkgs for evaluation alone may lie in NIX_HARNESS
(or ~/.cache/ray-nixos/nix-harness), with `bin/nix` and `nixpkgs/`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MISSING = "no Nix: install it (https://nixos.org/download), or set NIX_HARNESS to a directory with bin/nix and nixpkgs/"
_FEATURES = ["--extra-experimental-features", "nix-command flakes"]


def harness() -> Path | None:
    """The directory with a Nix for evaluation alone, if there is one."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ray-nixos" / "nix-harness"
    chosen = Path(os.environ.get("NIX_HARNESS") or default)
    return chosen if (chosen / "bin" / "nix").is_file() and (chosen / "nixpkgs").is_dir() else None


def command(*arguments: str) -> list[str] | None:
    """The call of nix with arguments for the flake of this folder, or None where nothing can evaluate it."""
    if os.environ.get("NIX_HARNESS") is None and (installed := shutil.which("nix")):
        return [installed, *_FEATURES, *arguments]
    if found := harness():
        locked = ["--offline", "--no-write-lock-file", "--override-input", "nixpkgs", f"path:{found / 'nixpkgs'}"]
        return [str(found / "bin" / "nix"), *_FEATURES, *arguments, *locked]
    return None


def flake(folder: Path = ROOT) -> str:
    """How the flake is named: what git knows of, so that an environment or results beside it are not copied."""
    return f"git+file://{folder}" if (folder / ".git").exists() else f"path:{folder}"


def run(*arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Call nix with arguments; its output as text. Raises FileNotFoundError where there is no Nix."""
    called = command(*arguments)
    if called is None:
        raise FileNotFoundError(MISSING)
    return subprocess.run(called, cwd=ROOT, text=True, capture_output=True, timeout=timeout)
