"""llama.cpp's programs for containers: those of tests/llama-programs, where the package llama-cpp would be."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

from . import image
from .store import LLAMA, Bind

# The configuration of the machines in which llama.cpp is run.
SPECIALISATION = "llama"
_INSTALLER = Path(__file__).resolve().parents[1] / "llama-programs"
_TIMEOUT = 600


def directory() -> Path:
    """Where the programs lie: on each machine once, for all that test with them."""
    return image.cache().parent / "llama-programs"


def binds(scenario: str) -> list[Bind]:
    """What a scenario's text needs bound: nothing, unless it names the configuration.

    Raises RuntimeError, with what is wrong, where the programs cannot be had.
    """
    named = {node.value for node in ast.walk(ast.parse(scenario)) if isinstance(node, ast.Constant)}
    if SPECIALISATION not in named:
        return []
    command = [str(_INSTALLER), str(directory())]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return [Bind(directory(), LLAMA)]
