"""The room placement is arithmetic over what it is told: it imports the standard library and itself, no network,
no clock and no chance."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cognitive_actors.placement

PLACEMENT = Path(cognitive_actors.placement.__path__[0])
FILES = sorted(PLACEMENT.rglob("*.py"))
#: Modules of the standard library through which a process reaches others, or what is another each time.
OUTSIDE = {
    *("socket", "ssl", "http", "urllib", "subprocess", "multiprocessing", "asyncio", "threading", "concurrent"),
    *("time", "datetime", "random", "secrets", "uuid"),
}


def name(path: Path) -> str:
    return str(path.relative_to(PLACEMENT))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_placement_imports_nothing_of_ray_or_of_other_rooms(path: Path) -> None:
    depth = len(path.relative_to(PLACEMENT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found = {str(node.module).split(".")[0]}
        else:
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth, f"line {node.lineno} imports from above placement"
            continue
        assert found <= sys.stdlib_module_names - OUTSIDE, f"line {node.lineno} imports {found}"


def test_importing_it_loads_no_ray_and_no_torch() -> None:
    code = "import sys, cognitive_actors.placement; print({'ray', 'torch', 'numpy'} & sys.modules.keys())"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert process.stdout.strip() == "set()"


def test_there_is_something_to_check() -> None:
    assert len(FILES) >= 5
