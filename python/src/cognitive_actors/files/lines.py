"""The lines of a text file in chunks, in bounded memory whatever the lines are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .columns import Faults

#: A longer line (in bytes, without its end) is not a record; it comes back cut to LINE_LIMIT + 1 bytes.
LINE_LIMIT = 1_000_000

_BLOCK = 1 << 20
_CHUNK_BYTES = 16 << 20
_BOM = b"\xef\xbb\xbf"


def line_chunks(path: Path, size: int) -> Iterator[tuple[list[int], list[bytes]]]:
    """At most ``size`` lines, or 16 MB of them, at a time: their numbers, from 1, and their bytes.

    Lines that are empty or blank are left out but counted in the numbering. Raises OSError.
    """
    numbers: list[int] = []
    lines: list[bytes] = []
    held = 0
    number = 0
    with open(path, "rb") as file:
        for block in _blocks(file):
            for line in map(_content, block):
                number += 1
                if line:
                    numbers.append(number)
                    lines.append(line)
                    held += len(line)
                    if len(lines) >= size or held >= _CHUNK_BYTES:
                        yield numbers, lines
                        numbers, lines, held = [], [], 0
    if lines:
        yield numbers, lines


def count_lines(path: Path) -> int:
    """How many lines :func:`line_chunks` gives."""
    with open(path, "rb") as file:
        return sum(sum(map(bool, map(_content, block))) for block in _blocks(file))


def first_line(path: Path) -> bytes:
    """The first line, blank or not, without its end."""
    with open(path, "rb") as file:
        return next((block[0].rstrip(b"\r") for block in _blocks(file)), b"")


def decoded(lines: list[bytes], faults: Faults) -> list[str]:
    """The lines as text; those that are none come back empty and are noted."""
    try:
        texts = b"\n".join(lines).decode().split("\n") if lines else []
    except UnicodeDecodeError:
        texts = []
        for position, line in enumerate(lines):
            try:
                texts.append(line.decode())
            except UnicodeDecodeError as error:
                faults[position] = f"byte {error.start + 1} is not UTF-8; save the file in the encoding UTF-8"
                texts.append("")
    for position, line in enumerate(lines):
        if len(line) > LINE_LIMIT:
            faults[position] = f"the line is longer than {LINE_LIMIT:,} bytes; write one short record per line"
            texts[position] = ""
    return texts


def _content(line: bytes) -> bytes:
    """The line without blanks around it, which JSON and CSV ignore; a line that is too long stays as it is."""
    return line.strip() if len(line) <= LINE_LIMIT else line


def _blocks(file: IO[bytes]) -> Iterator[list[bytes]]:
    """All lines without their ends, as many at a time as one read gives, each at most LINE_LIMIT + 1 bytes long."""
    block = file.read(_BLOCK).removeprefix(_BOM)
    begun = b""
    while block:
        lines = block.split(b"\n")
        lines[0] = (begun + lines[0])[: LINE_LIMIT + 1]
        begun = lines.pop()[: LINE_LIMIT + 1]
        if lines:
            yield lines
        block = file.read(_BLOCK)
    if begun:
        yield [begun]
