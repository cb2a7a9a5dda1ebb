"""The header of a GGUF file, read within limits: whoever wrote the file decides neither memory nor time that it takes.

Format: docs/gguf.md of ggml, versions 2 and 3, little endian. Read are the metadata and the descriptions of the
tensors, never the weights. As in llama.cpp an array holds no arrays, and no key or tensor comes twice.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from .errors import DAMAGED, ModelUnfit

__all__ = ["MOST_LAYERS", "Header", "Row", "Tensor", "Value", "parse_header"]

#: Bytes of a header, a choice: one with half a million words and merges takes about 16 MiB. As many empty texts as fit
#: into it are walked along in some seconds.
MOST_HEADER = 64 << 20
#: Keys, a choice: files have some dozens.
MOST_KEYS = 4096
#: Tensors, a choice: the largest plain models have some 1500.
MOST_TENSORS = 16384
#: Bytes of a key, a choice; the format would allow 65535.
LONGEST_KEY = 256
#: Bytes of a text that is kept, a choice; a longer one, such as a template for chats, is skipped.
LONGEST_TEXT = 1024
#: Bytes of a tensor's name and sides of its shape: GGML_MAX_NAME, with its closing zero, and GGML_MAX_DIMS of ggml.h.
LONGEST_NAME, MOST_SIDES = 63, 4
#: LLAMA_MAX_LAYERS of llama.cpp; a longer array is skipped.
MOST_LAYERS = 512

_NUMBERS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_TEXT, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class Row:
    """An array of at most one number for each layer. same: the number, if all are equal, or else None."""

    count: int
    same: int | float | None


#: None stands for what was skipped: long texts, long arrays and arrays of texts.
Value = int | float | str | Row | None


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a file says of a tensor. shape: the length of a row first; offset: bytes from where the weights begin."""

    name: str
    type: int
    shape: tuple[int, ...]
    offset: int


@dataclass(frozen=True)
class Header:
    """values: the metadata by key; tensors: in the order of the file; end: bytes of the header."""

    values: dict[str, Value]
    tensors: tuple[Tensor, ...]
    end: int


def parse_header(file: BinaryIO, size: int) -> Header:
    """The header of an open file of so many bytes, read from its beginning.

    Raises ModelUnfit, without the name of the file, whatever the bytes are; OSError where they cannot be read.
    """
    source = _Source(file, size)
    _check_version(source)
    tensors = _count(source, "tensors", MOST_TENSORS)
    keys = _count(source, "keys", MOST_KEYS)
    values: dict[str, Value] = {}
    for _ in range(keys):
        key = source.name("key", LONGEST_KEY)
        if key in values:
            raise ModelUnfit(f"it has the key {key!r} twice; {DAMAGED}")
        values[key] = _value(source, key)
    found: dict[str, Tensor] = {}
    for _ in range(tensors):
        tensor = _tensor(source)
        if tensor.name in found:
            raise ModelUnfit(f"it has the tensor {tensor.name!r} twice; {DAMAGED}")
        found[tensor.name] = tensor
    return Header(values, tuple(found.values()), source.position)


class _Source:
    """A file that is read forwards. Nothing is asked of it that it cannot have, or that no header has."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._limit = min(size, MOST_HEADER)
        self._cut = size > MOST_HEADER
        self.position = 0

    def take(self, count: int) -> bytes:
        self._advance(count)
        content = self._file.read(count)
        if len(content) != count:  # It was made shorter meanwhile.
            raise ModelUnfit(f"it ends in the middle of its header; {DAMAGED}")
        return content

    def skip(self, count: int) -> None:
        self._advance(count)
        self._file.seek(count, 1)

    def number(self, form: struct.Struct) -> int | float:
        found: int | float = form.unpack(self.take(form.size))[0]
        return found

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def name(self, what: str, longest: int) -> str:
        """A key or a tensor's name: a text that must not be skipped."""
        count = self.u64()
        if not 0 < count <= longest:
            raise ModelUnfit(f"a {what} has {count} bytes, and 1 to {longest} are allowed; {DAMAGED}")
        content = self.take(count)
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ModelUnfit(f"a {what} is not UTF-8: {content!r}; {DAMAGED}") from None

    def _advance(self, count: int) -> None:
        if count > self._limit - self.position:
            if self._cut:
                raise ModelUnfit(f"its header takes more than {MOST_HEADER >> 20} MiB; get the file from its maker")
            raise ModelUnfit(f"it ends in the middle of its header; {DAMAGED}")
        self.position += count


def _check_version(source: _Source) -> None:
    if source.take(4) != b"GGUF":
        raise ModelUnfit("it is not a GGUF file; convert the model with llama.cpp's convert_hf_to_gguf.py")
    version = source.u32()
    if version and not version & 0xFFFF:
        raise ModelUnfit("its numbers are big endian; convert it with gguf_convert_endian of PyPI's gguf")
    if version not in (2, 3):
        raise ModelUnfit(f"it is GGUF of version {version}, and 2 and 3 are known; convert the model anew")


def _count(source: _Source, what: str, most: int) -> int:
    count = source.u64()
    if count > most:
        raise ModelUnfit(f"it announces {count} {what}, and {most} are allowed; {DAMAGED}")
    return count


def _value(source: _Source, key: str) -> Value:
    kind = source.u32()
    if kind in _NUMBERS:
        return source.number(_NUMBERS[kind])
    if kind == _TEXT:
        return _text(source)
    if kind == _ARRAY:
        return _array(source, key)
    raise ModelUnfit(f"the value of {key!r} is of type {kind}, which GGUF does not have; {DAMAGED}")


def _text(source: _Source) -> str | None:
    count = source.u64()
    if count > LONGEST_TEXT:
        source.skip(count)
        return None
    return source.take(count).decode("utf-8", "replace")


def _array(source: _Source, key: str) -> Row | None:
    kind = source.u32()
    count = source.u64()
    if kind == _TEXT:
        # Its end is found by walking along it; the limit of the header is one of steps too.
        for _ in range(count):
            source.skip(source.u64())
        return None
    if kind not in _NUMBERS:
        raise ModelUnfit(f"the array {key!r} holds type {kind}, where numbers or texts are allowed; {DAMAGED}")
    form = _NUMBERS[kind]
    if count > MOST_LAYERS:
        source.skip(count * form.size)
        return None
    numbers = {source.number(form) for _ in range(count)}
    return Row(count, numbers.pop() if len(numbers) == 1 else None)


def _tensor(source: _Source) -> Tensor:
    name = source.name("tensor's name", LONGEST_NAME)
    sides = source.u32()
    if not 0 < sides <= MOST_SIDES:
        raise ModelUnfit(f"tensor {name!r} has {sides} dimensions, and 1 to {MOST_SIDES} are allowed; {DAMAGED}")
    shape = tuple(source.u64() for _ in range(sides))
    if not all(shape):
        raise ModelUnfit(f"tensor {name!r} has the shape {shape}, which is empty; {DAMAGED}")
    return Tensor(name, source.u32(), shape, source.u64())
