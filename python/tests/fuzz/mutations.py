"""Files that were good, and what may have happened to them since."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from hypothesis import strategies as st

#: What turns up in bad files, of any format.
FRAGMENTS = [
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\n", b"\r", b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"- ", b"\\ud800"),
    *(
        b"NaN",
        b"-Infinity",
        b"1e400",
        b"9" * 30,
        b"-1",
        b"null",
        b"true",
        b"''",
        b"&a",
        b"*a",
        b"<<: *a",
        b"!!int",
        b"~",
    ),
    *(b"!!python/object/apply:os.system [true]", b"[" * 40, b"\xed\xa0\x80", b"0x" + b"f" * 500, b"1" + b":59" * 200),
    *(b"x" * 300, b"\x93NUMPY", b"PK\x03\x04", b"PAR1", b"|O", b"2012-99-99", b"%YAML 9.9\n---\n", b"...", b"#", b"? "),
]
_Edit = Callable[[bytes], bytes]


def mutated(originals: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """One of these, after one to six edits: bytes flipped, cut out, put in, doubled or exchanged, the end cut off."""
    place = st.integers(0, 1 << 20)
    length = st.integers(1, 40)
    edit = st.one_of(
        st.builds(_flip, place, st.integers(1, 255)),
        st.builds(_remove, place, length),
        st.builds(_insert, place, st.sampled_from(FRAGMENTS) | st.binary(min_size=1, max_size=12)),
        st.builds(_replace, place, st.sampled_from(FRAGMENTS)),
        st.builds(_double, place, length, st.integers(1, 50)),
        st.builds(_exchange, place, place, length),
        st.builds(_cut, place),
    )
    return st.builds(_apply, st.sampled_from(originals), st.lists(edit, min_size=1, max_size=6))


def archive(members: Mapping[str, np.ndarray | bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An NPZ file of arrays, or of bytes in place of them; its checksums are right, whatever they hold."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                if isinstance(content, bytes):
                    member.write(content)
                else:
                    np.lib.format.write_array(member, content)
    return buffer.getvalue()


def array_bytes(array: np.ndarray) -> bytes:
    """An array as a member of an NPZ file."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def header(descr: str, shape: str, order: str = "False", content: bytes = b"") -> bytes:
    """A member of an NPZ file that says of itself whatever it is told to."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def _apply(content: bytes, edits: list[_Edit]) -> bytes:
    for edit in edits:
        content = edit(content)
    return content


def _flip(place: int, bits: int) -> _Edit:
    def edit(content: bytes) -> bytes:
        if not content:
            return content
        i = place % len(content)
        return content[:i] + bytes([content[i] ^ bits]) + content[i + 1 :]

    return edit


def _remove(place: int, length: int) -> _Edit:
    return lambda content: _spliced(content, place, length, b"")


def _insert(place: int, more: bytes) -> _Edit:
    return lambda content: _spliced(content, place, 0, more)


def _replace(place: int, more: bytes) -> _Edit:
    return lambda content: _spliced(content, place, len(more), more)


def _double(place: int, length: int, times: int) -> _Edit:
    def edit(content: bytes) -> bytes:
        i = place % (len(content) + 1)
        return content[:i] + content[i : i + length] * times + content[i:]

    return edit


def _exchange(first: int, second: int, length: int) -> _Edit:
    def edit(content: bytes) -> bytes:
        i, j = sorted((first % (len(content) + 1), second % (len(content) + 1)))
        k = min(i + length, j)
        return content[:i] + content[k:j] + content[i:k] + content[j:]

    return edit


def _cut(place: int) -> _Edit:
    return lambda content: content[: place % (len(content) + 1)]


def _spliced(content: bytes, place: int, length: int, more: bytes) -> bytes:
    i = place % (len(content) + 1)
    return content[:i] + more + content[i + length :]
