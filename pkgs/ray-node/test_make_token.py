"""A token is made once, whole, and readable by the group alone."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from make_token import make_token

SCRIPT = Path(__file__).parent / "make_token.py"


def test_a_token_is_made_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "token"
    assert make_token(path)
    first = path.read_text()
    assert len(bytes.fromhex(first)) == 32
    assert path.stat().st_mode & 0o777 == 0o640
    assert not make_token(path)
    assert path.read_text() == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]


def test_no_token_is_like_another(tmp_path: Path) -> None:
    for name in "ab":
        make_token(tmp_path / name)
    assert (tmp_path / "a").read_text() != (tmp_path / "b").read_text()


def test_many_starts_at_once_agree(tmp_path: Path) -> None:
    path = tmp_path / "token"

    def start(_number: int) -> str:
        done = subprocess.run([sys.executable, SCRIPT, path], check=True, capture_output=True, text=True, timeout=30)
        return done.stdout + path.read_text()

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(start, range(8)))
    assert sum("made a token" in text for text in said) == 1
    assert {text.splitlines()[-1] for text in said} == {path.read_text().strip()}
    assert [entry.name for entry in tmp_path.iterdir()] == ["token"]
