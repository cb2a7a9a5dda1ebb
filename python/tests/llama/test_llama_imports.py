"""The room of language models stands on the cluster, on files and on placement: it knows no services and no agents."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cognitive_actors.llama

LLAMA = Path(str(cognitive_actors.llama.__file__)).parent
ALLOWED = {"cluster", "files", "placement"}
FILES = sorted(LLAMA.glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_imports_of_llama(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            assert str(node.module).split(".")[0] in ALLOWED, f"line {node.lineno} imports {node.module}"
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert not str(node.module).startswith("cognitive_actors"), f"line {node.lineno} says its own name"
        assert not isinstance(node, ast.ImportFrom) or node.level <= 2


def test_there_are_files_to_check() -> None:
    assert len(FILES) >= 15


def test_the_command_needs_nothing_that_only_coordinators_need() -> None:
    missing = "for name in ('aiohttp', 'pynvml', 'redis', 'fastapi'): sys.modules[name] = None"
    code = f"import sys\n{missing}\nimport cognitive_actors.cli.app, cognitive_actors.llama.reporting"
    subprocess.run([sys.executable, "-c", code], timeout=120, check=True)


def test_a_package_that_coordinators_lack_is_named() -> None:
    code = "import sys; sys.modules['aiohttp'] = None; from cognitive_actors.llama import RayHybridRouter"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert "RayHybridRouter needs aiohttp; install cognitive-actors[llama]" in done.stderr
