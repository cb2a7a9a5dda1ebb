"""Imports run downwards: tasks know the cluster and what is below it, and nothing of what is above them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cognitive_actors.dispatch

FOLDER = Path(cognitive_actors.dispatch.__path__[0])
BELOW = {"cluster", "files", "actors", "core"}
#: What a task is needs neither Ray nor a database.
PURE = ("task", "content", "cycles", "errors", "pauses")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_imports(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            assert str(node.module).split(".")[0] in BELOW, f"line {node.lineno} imports {node.module}"
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2 and not str(node.module).startswith("cognitive_actors"), f"line {node.lineno}"


def test_what_a_task_is_needs_no_ray_and_no_database() -> None:
    names = ", ".join(f"cognitive_actors.dispatch.{name}" for name in PURE)
    code = f"import sys, {names}; print(sorted({{'ray', 'sqlalchemy', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("missing", "code", "said"),
    [
        ("sqlalchemy", "open_store", "open_store needs SQLAlchemy; install cognitive-actors[dispatch]"),
        (
            "psycopg",
            "open_store as o; o('postgresql://a@b/c')",
            "client is missing; install cognitive-actors[postgres]",
        ),
        ("sqlalchemy", "*; sys.exit('all the others are there')", "all the others are there"),
    ],
)
def test_a_package_that_is_missing_is_named(missing: str, code: str, said: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from cognitive_actors import {code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert said in done.stderr
