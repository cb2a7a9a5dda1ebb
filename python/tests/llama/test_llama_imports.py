"""The room of language models stands on the cluster, on files and on placement: it knows no services and no agents."""

from __future__ import annotations

import ast
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
