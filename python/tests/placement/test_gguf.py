"""The sizes of models from the headers of their files: the writer's own, and why others are refused."""

from __future__ import annotations

import os
import re
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_gguf import (
    CONTEXT,
    HEADS,
    KIND_SIZES,
    KV_HEADS,
    LAYERS,
    TOKENS,
    WIDTH,
    Kind,
    Tensors,
    layer,
    raw_header,
    raw_key,
    raw_tensor,
    raw_text,
    tiny_tensors,
    write_gguf,
)

from cognitive_actors.placement import ModelSizes, ModelUnfit, read_sizes
from cognitive_actors.placement.tensor_types import TENSOR_TYPES


def summed(tensors: dict[str, int]) -> tuple[tuple[int, ...], int, int]:
    """Layers, output and host, of bytes by tensor."""
    blocks = [sum(n for name, n in tensors.items() if name.startswith(f"blk.{i}.")) for i in range(LAYERS)]
    output = sum(n for name, n in tensors.items() if name.startswith("output"))
    return tuple(blocks), output, tensors["token_embd.weight"]


def counted(tensors: Tensors) -> dict[str, int]:
    return {name: tensor.nbytes for name, tensor in tensors.items() if isinstance(tensor, np.ndarray)}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf", tiny_tensors())


def refused(path: Path) -> str:
    """What is said of a file, whose name it begins with."""
    with pytest.raises(ModelUnfit) as caught:
        read_sizes(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_the_tiny_model(tiny: Path) -> None:
    blocks, output, host = summed(counted(tiny_tensors()))
    found = read_sizes(tiny)
    assert found == ModelSizes("tiny", "llama", blocks, output, host, KV_HEADS, 16, 16, CONTEXT)
    assert found.units == LAYERS + 1
    assert found.cache(257) == 512 * KV_HEADS * (16 + 16) * 2


def test_version_2_is_laid_out_as_version_3(tiny: Path, tmp_path: Path) -> None:
    content = bytearray(tiny.read_bytes())
    content[4] = 2
    (tmp_path / "tiny.gguf").write_bytes(content)
    assert read_sizes(tmp_path / "tiny.gguf") == read_sizes(tiny)


def test_what_a_model_says_of_itself(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        ":general.name": "a\nname " + "x" * 200,
        ":general.alignment": 64,
        ":tokenizer.chat_template": "x" * 5000,
        "attention.head_count_kv": None,
        "attention.key_length": 24,
        "attention.value_length": 8,
    }
    tensors = tiny_tensors()
    tensors["output.bias"] = np.zeros(len(TOKENS), np.float32)
    found = read_sizes(write_gguf(tmp_path / "x.gguf", tensors, keys, "qwen2"))
    assert (found.kv_heads, found.key_length, found.value_length) == (HEADS, 24, 8)
    assert found.name.startswith("a name xxx") and len(found.name) == 100
    assert (found.blocks, found.output, found.host) == summed(counted(tensors))


def test_the_same_number_of_heads_in_each_layer(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"attention.head_count_kv": [1] * LAYERS, "attention.head_count": [2] * LAYERS}
    found = read_sizes(write_gguf(tmp_path / "x.gguf", tiny_tensors(), keys))
    assert (found.kv_heads, found.key_length) == (1, WIDTH // 2)


def test_factors_of_the_rotation_count_in_each_layer(tiny: Path, tmp_path: Path) -> None:
    tensors = {**tiny_tensors(), "rope_freqs.weight": np.ones(8, np.float32)}
    found = read_sizes(write_gguf(tmp_path / "x.gguf", tensors))
    assert found.blocks == tuple(count + 32 for count in read_sizes(tiny).blocks)


def test_types_of_tensors_are_those_of_the_package() -> None:
    for number, (name, entries, size) in TENSOR_TYPES.items():
        kind = Kind(number)
        assert (kind.name, KIND_SIZES[kind]) == (name, (entries, size))


@pytest.mark.parametrize("number", TENSOR_TYPES)
def test_every_type_takes_what_the_writer_wrote(tmp_path: Path, number: int) -> None:
    kind = Kind(number)
    tensors = tiny_tensors()
    for i in range(LAYERS):
        for name, shape in layer(256, 512, 256).items():
            matrix = len(shape) == 2
            tensors[f"blk.{i}.{name}"] = (kind, shape) if matrix else np.zeros(shape, np.float32)
    entries, size = KIND_SIZES[kind]
    matrices = sum(a * b for a, b in (shape for shape in layer(256, 512, 256).values() if len(shape) == 2))
    found = read_sizes(write_gguf(tmp_path / "x.gguf", tensors))
    assert found.blocks == (matrices // entries * size + 2 * 256 * 4,) * LAYERS


#: Keys of a model that is not plain, and what is said of it.
NOT_PLAIN: list[tuple[str, dict[str, Any], str]] = [
    ("llama", {"expert_count": 8}, "mixture of experts"),
    ("deepseek2", {"attention.kv_lora_rank": 512}, "latent"),
    ("llama", {"attention.sliding_window": 4096}, "sliding window"),
    ("gemma3", {"attention.sliding_window": 512}, "sliding window"),
    ("jamba", {"ssm.state_size": 16}, "state-space"),
    ("mamba", {"ssm.conv_kernel": 4}, "state-space"),
    ("rwkv7", {"wkv.head_size": 64}, "recurrent"),
    ("qwen3", {"nextn_predict_layers": 1}, "further tokens"),
    ("qwen3", {"pooling_type": 3}, "embeds texts"),
    ("bert", {"attention.causal": False}, "embeds texts"),
    ("t5encoder", {}, "architecture is 't5encoder'.*one of the architectures llama"),
    ("llama", {"attention.head_count_kv": [2, 2, 1, 2]}, "not the same in all of its 4 layers"),
    ("llama", {"attention.head_count_kv": [2]}, "not the same in all of its 4 layers"),
    ("llama", {"attention.head_count_kv": [2] * 600}, "head_count_kv is None"),
    ("llama", {":split.count": 3}, "part of a model in 3 files; join"),
    ("llama", {":general.type": "adapter"}, "general.type is 'adapter'"),
    ("no architecture", {}, "general.architecture is 'no architecture'"),
    ("llama", {"block_count": None}, "block_count is missing"),
    ("llama", {"block_count": 0}, "block_count is 0"),
    ("llama", {"block_count": 513}, "from 1 to 512"),
    ("llama", {"block_count": 5}, "no tensor of layer 4"),
    ("llama", {"block_count": 3}, "'blk.3.attn_norm.weight', which no plain model of 3 layers has"),
    ("llama", {"context_length": 1.5}, "context_length is 1.5"),
    ("llama", {"embedding_length": True}, "embedding_length is True"),
    ("llama", {"attention.head_count": 5}, "no multiple of its 5 heads"),
]


@pytest.mark.parametrize(("architecture", "keys", "said"), NOT_PLAIN)
def test_what_is_refused_for_a_key(tmp_path: Path, architecture: str, keys: dict[str, Any], said: str) -> None:
    assert re.search(said, refused(write_gguf(tmp_path / "x.gguf", tiny_tensors(), keys, architecture)))


Q8_1, TQ1_0 = Kind.Q8_1, Kind.TQ1_0
ONE = np.ones(8, np.float32)


@pytest.mark.parametrize(
    ("without", "more", "said"),
    [
        ("output.weight", {}, r"no output\.weight: .*tied.*write a model with an output matrix"),
        ("token_embd.weight", {}, r"no tensor 'token_embd\.weight'"),
        ("output_norm.weight", {}, r"no tensor 'output_norm\.weight'"),
        ("blk.2.", {}, r"no tensor of layer 2 \(blk\.2\.\) of its 4"),
        ("blk.2.ffn_up.weight", {}, r"one of layers 0 and 2 has 'ffn_up\.weight'"),
        (" ", {"blk.0.ffn_gate_exps.weight": ONE}, "no plain model of 4 layers has"),
        (" ", {"blk.00.attn_norm.weight": ONE}, "no plain model"),
        (" ", {"blk.4.attn_norm.weight": ONE}, "no plain model"),
        (" ", {"blk.1.ssm_a": ONE}, "no plain model"),
        (" ", {"mm.0.weight": ONE}, "no plain model"),
        (" ", {"output.bias": (Q8_1, (32,))}, "'output.bias' is of type 9, of which.*one of F32"),
        (" ", {"output.bias": (TQ1_0, (256,))}, "is of type 34"),
    ],
)
def test_what_is_refused_for_a_tensor(tmp_path: Path, without: str, more: Tensors, said: str) -> None:
    tensors = {name: tensor for name, tensor in tiny_tensors().items() if not name.startswith(without)}
    assert re.search(said, refused(write_gguf(tmp_path / "x.gguf", {**tensors, **more})))


@pytest.mark.parametrize(
    ("name", "offset", "said"),
    [
        ("token_embd.weight", 33, "begins at 33, no multiple of 32 bytes"),
        ("output.weight", 0, "overlap"),
        ("blk.1.attn_q.weight", 64, "'token_embd.weight' and 'blk.1.attn_q.weight' overlap"),
        ("output.weight", 1 << 40, "'output.weight' ends .* beyond the file"),
        ("output.weight", (1 << 64) - 32, "beyond the file"),
    ],
)
def test_tensors_have_places_of_their_own(tiny: Path, tmp_path: Path, name: str, offset: int, said: str) -> None:
    content = bytearray(tiny.read_bytes())
    at = content.index(raw_text(name.encode())) + 8 + len(name)
    sides = int.from_bytes(content[at : at + 4], "little")
    at += 4 + 8 * sides + 4
    content[at : at + 8] = offset.to_bytes(8, "little")
    (tmp_path / "x.gguf").write_bytes(content)
    assert re.search(said, refused(tmp_path / "x.gguf"))


PLAIN = raw_key(b"general.architecture", 8, raw_text(b"llama"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "ends in the middle"),
        (b"PK\x03\x04" + b"\0" * 40, "not a GGUF file; convert"),
        (b"GGUF\0\0\0\x03" + b"\0" * 16, "big endian"),
        (raw_header(version=1), "version 1"),
        (raw_header(version=4), "version 4"),
        (raw_header([PLAIN, PLAIN]), "the key 'general.architecture' twice"),
        (raw_header([raw_key(b"", 0, b"1")]), "a key has 0 bytes"),
        (raw_header([raw_key(b"\xff", 0, b"1")]), "not UTF-8"),
        (raw_header([raw_key(b"x", 13, b"1")]), "'x' is of type 13"),
        (raw_header([raw_key(b"x", 9, b"\x09\0\0\0" + b"\0" * 8)]), "the array 'x' holds type 9"),
        (raw_header([], [raw_tensor(b"x" * 64, [1])]), "has 64 bytes, and 1 to 63"),
        (raw_header([], [raw_tensor(b"x", [])]), "0 dimensions"),
        (raw_header([], [raw_tensor(b"x", [1] * 5)]), "5 dimensions"),
        (raw_header([], [raw_tensor(b"x", [4, 0])]), r"shape \(4, 0\), which is empty"),
        (raw_header([], [raw_tensor(b"x", [1])] * 2), "the tensor 'x' twice"),
    ],
)
def test_headers_that_nothing_wrote(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.gguf").write_bytes(content)
    assert re.search(said, refused(tmp_path / "x.gguf"))


def test_a_row_that_is_no_whole_number_of_blocks(tiny: Path, tmp_path: Path) -> None:
    content = tiny.read_bytes()
    norm = raw_text(b"output_norm.weight") + struct.pack("<IQ", 1, WIDTH)
    (tmp_path / "x.gguf").write_bytes(content.replace(norm + b"\0", norm + b"\x0c"))
    assert "rows of 64 entries, and Q4_K has blocks of 256" in refused(tmp_path / "x.gguf")


def test_parts_of_a_model(tiny: Path, tmp_path: Path) -> None:
    part = tmp_path / "big-00001-of-00003.gguf"
    part.write_bytes(tiny.read_bytes())
    assert "part of a model in 3 files; join" in refused(part)
    whole = part.rename(tmp_path / "big-00001-of-00001.gguf")
    assert read_sizes(whole).units == LAYERS + 1


def test_what_is_no_file(tmp_path: Path) -> None:
    assert "no regular file" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "no regular file" in refused(tmp_path / "pipe.gguf")
    with pytest.raises(FileNotFoundError):
        read_sizes(tmp_path / "none.gguf")


def test_an_alignment_that_is_no_power_of_two(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "x.gguf", tiny_tensors(), {":general.alignment": 64})
    assert read_sizes(path).units == LAYERS + 1
    good, bad = (raw_key(b"general.alignment", 4, struct.pack("<I", number)) for number in (64, 48))
    path.write_bytes(path.read_bytes().replace(good, bad))
    assert "general.alignment is 48, and a power of two" in refused(path)


def test_a_file_without_its_last_byte(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(tiny.read_bytes()[:-1])
    assert "'output.weight' ends 1 bytes beyond the file" in refused(tmp_path / "x.gguf")


def test_a_file_that_was_cut_off_anywhere(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny.read_bytes())
    header = path.stat().st_size - sum(counted(tiny_tensors()).values())
    # What follows the header is not read, so where it is cut matters less.
    ends = [*range(0, header, 64), *range(header, path.stat().st_size, 64 * 64)]
    tracemalloc.start()
    try:
        for end in reversed(ends):
            os.truncate(path, end)
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            assert re.search("in the middle of its header|beyond the file", refused(path))
            assert tracemalloc.get_traced_memory()[1] - before < 1 << 19
    finally:
        tracemalloc.stop()
