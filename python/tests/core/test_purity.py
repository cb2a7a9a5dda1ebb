"""The core is arithmetic: no Ray, no files, no clock and no global randomness, in its imports and in its calls."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import cognitive_actors.core

CORE = Path(cognitive_actors.core.__path__[0])
FILES = sorted(CORE.rglob("*.py"))
#: All that the core may import beside itself.
ALLOWED = {"numpy", "torch"} | {
    "__future__", "collections", "dataclasses", "enum", "functools", "hashlib", "itertools", "math", "typing",
    "unicodedata",
}  # fmt: skip
#: Names, and ends of dotted names, of what reaches outside or draws from global state.
FORBIDDEN = ("open", "exec", "eval", "print", "input")
FORBIDDEN_ENDS = (
    "torch.load", "torch.save", "np.load", "np.save", "np.savez", "np.loadtxt", "np.fromfile", "np.memmap",
    "torch.rand", "torch.randn", "torch.randint", "torch.randperm", "torch.multinomial", "torch.bernoulli",
    "torch.manual_seed", "torch.set_num_threads", ".multinomial", ".bernoulli_", ".uniform_", ".normal_",
)  # fmt: skip


def name(path: Path) -> str:
    return str(path.relative_to(CORE))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports(path: Path) -> None:
    depth = len(path.relative_to(CORE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = {alias.name.split(".")[0] for alias in node.names}
            assert modules <= ALLOWED, f"line {node.lineno} imports {modules - ALLOWED}"
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert str(node.module).split(".")[0] in ALLOWED, f"line {node.lineno} imports {node.module}"
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= depth, f"line {node.lineno} imports from above core"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_calls(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN and not called.endswith(FORBIDDEN_ENDS), f"line {node.lineno}: {called}"
            assert ".random." not in called, f"line {node.lineno}: {called}"


def test_there_is_something_to_check() -> None:
    assert len(FILES) > 20 and "ray" not in ALLOWED and set(sys.stdlib_module_names) > ALLOWED - {"numpy", "torch"}
