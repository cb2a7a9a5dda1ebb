"""Files of language models of any content: sizes that the file can have, or words that name it, in bounded memory."""

from __future__ import annotations

import struct
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from effort import effort
from hypothesis import given
from hypothesis import strategies as st
from mutations import mutated
from tiny_gguf import KEYS, raw_header, raw_key, raw_tensor, raw_text, tiny_tensors, write_gguf

from cognitive_actors.placement import ModelUnfit, read_sizes

#: Bytes that reading a file of any size may take at once: what MOST_KEYS keys and MOST_TENSORS tensors need is more,
#: and they must stand in the file, byte for byte.
ALLOWED = 1 << 20


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf")


def _written() -> bytes:
    """Written where this file is imported, because strategies are made of it."""
    with tempfile.TemporaryDirectory() as directory:
        return write_gguf(Path(directory) / "x.gguf", tiny_tensors()).read_bytes()


GOOD = _written()
#: Where the weights begin: what is altered beyond is never read.
END = len(GOOD) - sum(getattr(tensor, "nbytes", 0) for tensor in tiny_tensors().values())


def read(path: Path, content: bytes, allowed: int = ALLOWED) -> bool:
    """Whether it was read; if not, it was refused as it should be."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        sizes = read_sizes(path)
    except ModelUnfit as error:
        assert str(path) in str(error) and len(str(error)) < 1000
        str(error).encode()
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < allowed, f"{peak} bytes for {len(content)}"
    assert sizes.blocks and min(*sizes.blocks, sizes.output, sizes.host, sizes.kv_heads, sizes.context) > 0
    assert min(sizes.key_length, sizes.value_length) > 0
    # Factors of the rotation, which each layer counts, are not among the names that an edit makes.
    assert sum(sizes.blocks) + sizes.output + sizes.host <= len(content)
    assert sizes.name.isprintable() and len(sizes.name) <= 100
    return True


def test_the_good_file_is_read(place: Path) -> None:
    assert read(place / "good.gguf", GOOD)


@given(content=st.binary(max_size=300) | st.binary(max_size=100).map(lambda more: GOOD[:24] + more))
@effort(300)
def test_arbitrary_bytes(place: Path, content: bytes) -> None:
    assert not read(place / "any.gguf", content)


@given(header=mutated([GOOD[:END]]))
@effort(300)
def test_an_altered_header(place: Path, header: bytes) -> None:
    read(place / "altered.gguf", header + GOOD[END:])


NUMBERS = st.sampled_from([0, 1, 2, 7, 31, 255, 1 << 16, 1 << 31, (1 << 32) - 1, 1 << 60, 1 << 63, (1 << 64) - 1])
PLACES = sorted(
    {at + shift for name in (*map(str.encode, KEYS), b"blk.1.attn_q.weight", b"output.weight", b"tokenizer.ggml.scores")
     for at in [GOOD.index(name) + len(name)] for shift in (0, 4, 8, 12, 16, 20, 24)} | {4, 8, 16, 24}
)  # fmt: skip


@given(edits=st.dictionaries(st.sampled_from(PLACES), NUMBERS, min_size=1, max_size=3), wide=st.booleans())
@effort(400)
def test_numbers_of_any_size(place: Path, edits: dict[int, int], wide: bool) -> None:
    content = bytearray(GOOD)
    for at, number in edits.items():
        count = 8 if wide else 4
        content[at : at + count] = number.to_bytes(8, "little")[:count]
    read(place / "numbers.gguf", bytes(content))


NAMES = st.sampled_from([b"general.architecture", b"llama.block_count", b"x", b"", b"\xff", b"x" * 300])
KEY = st.builds(raw_key, NAMES, st.integers(0, 13), st.binary(max_size=40))
SHAPES = st.lists(NUMBERS, max_size=5)
TENSOR = st.builds(raw_tensor, NAMES, SHAPES, st.integers(0, 45), NUMBERS, st.none() | st.integers(0, 5))


@given(keys=st.lists(KEY, max_size=4), tensors=st.lists(TENSOR, max_size=4), version=st.integers(2, 3))
@effort(300)
def test_headers_of_any_parts(place: Path, keys: list[bytes], tensors: list[bytes], version: int) -> None:
    assert not read(place / "parts.gguf", raw_header(keys, tensors, version=version))


def nested(levels: int) -> bytes:
    """An array that holds one array that holds one, and so on."""
    return struct.pack("<IQ", 9, 1) * levels + struct.pack("<IQ", 0, 1) + b"\0"


def array(kind: int, count: int, content: bytes = b"") -> bytes:
    """A key whose array announces so many entries."""
    return raw_key(b"x", 9, struct.pack("<IQ", kind, count) + content)


#: Headers that announce what no memory holds, or hold much of what is allowed.
BOMBS: dict[str, bytes] = {
    "keys": raw_header(announced_keys=1 << 63),
    "all-keys": raw_header(announced_keys=4096),
    "tensors": raw_header(announced_tensors=1 << 63),
    "all-tensors": raw_header(announced_tensors=16384),
    "long-key": raw_header([raw_text(b"", 1 << 60)]),
    "long-text": raw_header([raw_key(b"x", 8, raw_text(b"", 1 << 60))]),
    "long-name": raw_header([], [raw_text(b"", 1 << 60)]),
    "long-text-in-array": raw_header([array(8, 1, raw_text(b"", 1 << 60))]),
    "numbers": raw_header([array(12, 1 << 63)]),
    "numbers-that-overflow": raw_header([array(12, (1 << 61) + 1)]),
    "texts": raw_header([array(8, 1 << 63, raw_text(b"") * 1000)]),
    "nested": raw_header([raw_key(b"x", 9, nested(10_000))]),
    "shape": raw_header([], [raw_tensor(b"x", [1 << 63] * 4)]),
    "sides": raw_header([], [raw_tensor(b"x", [1], sides=(1 << 32) - 1)]),
    "a-large-text": raw_header([raw_key(b"x", 8, raw_text(b"x" * (4 << 20)))]),
    "a-large-array": raw_header([array(0, 4 << 20, b"x" * (4 << 20))]),
    "many-texts": raw_header([array(8, 1 << 17, raw_text(b"x") * (1 << 17))]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_of_numbers(place: Path, name: str) -> None:
    assert not read(place / "bomb.gguf", BOMBS[name], allowed=1 << 18)


def test_a_header_of_all_that_is_allowed_takes_no_more_than_the_file(place: Path) -> None:
    keys = [raw_key(b"%04d" % i + b"x" * 252, 8, raw_text(b"y" * 1024)) for i in range(4096)]
    content = raw_header(keys, [raw_tensor(b"%05d" % i + b"x" * 50, [1] * 4) for i in range(16384)])
    assert not read(place / "most.gguf", content, allowed=3 * len(content))


def test_a_header_larger_than_any_is_not_read_to_its_end(place: Path) -> None:
    path = place / "sparse.gguf"
    path.write_bytes(raw_header([array(0, 1 << 30)]))
    with open(path, "r+b") as file:
        file.truncate(2 << 30)
    with pytest.raises(ModelUnfit, match="header takes more than 64 MiB"):
        read_sizes(path)
