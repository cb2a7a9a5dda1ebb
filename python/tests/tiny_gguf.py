"""Tiny language models in GGUF, as llama.cpp loads them, and files that are wrong to the byte."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

try:
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFValueType, GGUFWriter
    from gguf.quants import quant_shape_to_byte_shape
except ImportError:
    pytest.skip("gguf is not installed; install cognitive-actors[test]", allow_module_level=True)

Kind: TypeAlias = GGMLQuantizationType
#: Entries and bytes of a block, by type of tensors.
KIND_SIZES = GGML_QUANT_SIZES
LAYERS, WIDTH, HEADS, KV_HEADS, INNER, CONTEXT = 4, 64, 4, 2, 128, 512
#: Three special tokens, the bytes, and some letters.
TOKENS = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *"abcdefghijklmnopqrstuvwxyz\u2581"]
_TOKEN_TYPES = [2, 3, 3, *[6] * 256, *[1] * 27]

#: Metadata of every model here, without its architecture; None leaves a key out.
Keys = Mapping[str, int | float | str | bool | Sequence[int] | None]
KEYS: Keys = {
    "block_count": LAYERS,
    "context_length": CONTEXT,
    "embedding_length": WIDTH,
    "feed_forward_length": INNER,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV_HEADS,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.dimension_count": WIDTH // HEADS,
}
Tensors = dict[str, "np.ndarray | tuple[Kind, tuple[int, ...]]"]


def layer(width: int = WIDTH, inner: int = INNER, kv: int = KV_HEADS * WIDTH // HEADS) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of one layer, as numpy has them."""
    return {
        "attn_norm.weight": (width,),
        "attn_q.weight": (width, width),
        "attn_k.weight": (kv, width),
        "attn_v.weight": (kv, width),
        "attn_output.weight": (width, width),
        "ffn_norm.weight": (width,),
        "ffn_gate.weight": (inner, width),
        "ffn_up.weight": (inner, width),
        "ffn_down.weight": (width, inner),
    }


def tiny_tensors(
    layers: int = LAYERS, width: int = WIDTH, inner: int = INNER, kv: int = KV_HEADS * WIDTH // HEADS
) -> Tensors:
    """The weights of the tiny model, always the same, of single precision."""
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(TOKENS), width)}
    for i in range(layers):
        shapes |= {f"blk.{i}.{name}": shape for name, shape in layer(width, inner, kv).items()}
    shapes |= {"output_norm.weight": (width,), "output.weight": (len(TOKENS), width)}
    draw = np.random.default_rng(7)
    return {name: draw.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}


def write_gguf(path: Path, tensors: Tensors, keys: Keys | None = None, architecture: str = "llama") -> Path:
    """Write a model. keys: instead of those above, after the architecture, or in full where they begin with a colon."""
    writer = GGUFWriter(path, architecture)
    for key, value in {**KEYS, **(keys or {})}.items():
        name = key[1:] if key.startswith(":") else f"{architecture}.{key}"
        if name == "general.alignment" and isinstance(value, int):
            writer.add_custom_alignment(value)
        elif isinstance(value, bool):
            writer.add_bool(name, value)
        elif isinstance(value, int):
            writer.add_uint32(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif isinstance(value, str):
            writer.add_string(name, value)
        elif value is not None:
            writer.add_key_value(name, list(value), GGUFValueType.ARRAY, GGUFValueType.INT32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(TOKENS)
    writer.add_token_scores([0.0] * len(TOKENS))
    writer.add_token_types(_TOKEN_TYPES)
    for name, tensor in tensors.items():
        if isinstance(tensor, np.ndarray):
            writer.add_tensor(name, tensor)
        else:
            kind, shape = tensor
            writer.add_tensor(name, np.zeros(quant_shape_to_byte_shape(shape, kind), np.uint8), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def raw_text(text: bytes, count: int | None = None) -> bytes:
    """A text as a file has it, or one that announces another length."""
    return struct.pack("<Q", len(text) if count is None else count) + text


def raw_key(name: bytes, kind: int, value: bytes) -> bytes:
    """A key and a value of any bytes."""
    return raw_text(name) + struct.pack("<I", kind) + value


def raw_tensor(name: bytes, shape: Sequence[int], kind: int = 0, offset: int = 0, sides: int | None = None) -> bytes:
    """The description of a tensor, whatever it says."""
    numbers = struct.pack(f"<I{len(shape)}Q", len(shape) if sides is None else sides, *shape)
    return raw_text(name) + numbers + struct.pack("<IQ", kind, offset)


def raw_header(
    keys: Sequence[bytes] = (),
    tensors: Sequence[bytes] = (),
    *,
    version: int = 3,
    announced_keys: int | None = None,
    announced_tensors: int | None = None,
) -> bytes:
    """A header of any content, which may announce other numbers of keys and tensors than it has."""
    n_tensors = len(tensors) if announced_tensors is None else announced_tensors
    n_keys = len(keys) if announced_keys is None else announced_keys
    return b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys) + b"".join([*keys, *tensors])
