"""The sizes of a language model from the header of its GGUF file, or why they cannot be known from it.

What llama.cpp loads where, with -ngl: the tensors of a layer on the layer's device, the final norm and the output
matrix, its last unit, on the device of that, and the token embedding on the host. That holds of plain models: each
layer the same attention with a cache of its own, every weight used for every token. Others are refused, never guessed.

Sizes are those of the tensors. What a backend adds to align them and the buffers that it computes in are not in a file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from .errors import ModelUnfit
from .gguf_header import MOST_LAYERS, Header, Row, Value, parse_header
from .gguf_tensors import placed_bytes
from .model_sizes import ModelSizes

__all__ = ["ARCHITECTURES", "read_sizes"]

#: Plain ones, as src/models/NAME.cpp of llama.cpp loads them: Llama, Mistral and what else is built as Llama is; Qwen.
ARCHITECTURES = ("llama", "qwen2", "qwen3")
#: What makes a model of any architecture other than plain: the end of the key, and what it says unless it is zero.
_NOT_PLAIN = {
    "expert_count": "it is a mixture of experts",
    "attention.kv_lora_rank": "its attention is latent (MLA)",
    "attention.key_length_mla": "its attention is latent (MLA)",
    "attention.sliding_window": "its attention has a sliding window",
    "ssm.state_size": "it has state-space layers",
    "ssm.inner_size": "it has state-space layers",
    "ssm.conv_kernel": "it has state-space layers",
    "wkv.head_size": "it is recurrent",
    "nextn_predict_layers": "it has layers that predict further tokens",
    "pooling_type": "it embeds texts and writes none",
}
_PLAIN = f"write a dense model of one of the architectures {', '.join(ARCHITECTURES)}"
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)
_JOIN = "join the parts with llama-gguf-split --merge and write the path of the whole"
_WORD = re.compile(r"[a-z0-9._-]{1,64}")
_BLOCK = re.compile(r"blk\.(0|[1-9][0-9]{0,3})\.(.+)", re.DOTALL)
#: What a layer may have, each as .weight and .bias. llama.cpp itself refuses files with tensors that it does not use.
_LAYER = frozenset(
    f"{name}.{kind}"
    for kind in ("weight", "bias")
    for name in (
        *("attn_norm", "attn_q", "attn_k", "attn_v", "attn_qkv", "attn_output", "attn_q_norm", "attn_k_norm"),
        *("ffn_norm", "ffn_gate", "ffn_up", "ffn_down"),
    )
)
_HOST, _NORM, _OUTPUT = "token_embd.weight", "output_norm.weight", "output.weight"
#: The output unit; the bias is optional.
_LAST = (_NORM, _OUTPUT, "output.bias")
#: Factors of the rotation, some hundred bytes. Every device that has a layer gets a copy: each layer counts it.
_SHARED = "rope_freqs.weight"
#: Characters of a name for people.
_LONGEST_NAME = 100


def read_sizes(path: str | os.PathLike[str]) -> ModelSizes:
    """The sizes of the model in a GGUF file, in bytes, from its header alone.

    The file need not be trusted: what is read and kept is limited, and what it says is checked. Raises ModelUnfit,
    naming the file and what to do, if it is damaged or its model is not plain; OSError if it cannot be read.
    """
    path = Path(path)
    try:
        part = _PART.search(path.name)
        if part and int(part[1]) != 1:
            raise ModelUnfit(f"it is a part of a model in {int(part[1])} files; {_JOIN}")
        # Before it is opened: a pipe would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelUnfit("it is no regular file; write the path of a .gguf file")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = parse_header(file, size)
        return _sizes(header, size, path.stem)
    except ModelUnfit as error:
        raise ModelUnfit(f"{path}: {error}") from None


def _sizes(header: Header, size: int, stem: str) -> ModelSizes:
    values = header.values
    architecture = _architecture(values)
    layers = _whole(values, f"{architecture}.block_count", MOST_LAYERS)
    heads = _whole(values, f"{architecture}.attention.head_count", layers=layers)
    width = _whole(values, f"{architecture}.embedding_length")
    given = f"{architecture}.attention.head_count_kv"
    kv_heads = _whole(values, given, layers=layers) if given in values else heads
    lengths = []
    for key in (f"{architecture}.attention.key_length", f"{architecture}.attention.value_length"):
        if key not in values and width % heads:
            raise ModelUnfit(f"its {width} embeddings are no multiple of its {heads} heads; get a file with {key!r}")
        lengths.append(_whole(values, key) if key in values else width // heads)
    blocks, output, host = _units(placed_bytes(header, size), layers)
    return ModelSizes(
        name=_name(values.get("general.name"), stem),
        architecture=architecture,
        blocks=blocks,
        output=output,
        host=host,
        kv_heads=kv_heads,
        key_length=lengths[0],
        value_length=lengths[1],
        context=_whole(values, f"{architecture}.context_length"),
    )


def _architecture(values: Mapping[str, Value]) -> str:
    """The architecture. Raises ModelUnfit unless it is known, and the model plain and whole."""
    if values.get("split.count", 0) not in (0, 1):
        raise ModelUnfit(f"it is a part of a model in {values['split.count']!r} files; {_JOIN}")
    kind = values.get("general.type", "model")
    if kind != "model":
        raise ModelUnfit(f"it holds no model, its general.type is {kind!r}; write the path of the model itself")
    architecture = values.get("general.architecture")
    if not isinstance(architecture, str) or not _WORD.fullmatch(architecture):
        raise ModelUnfit(f"its general.architecture is {repr(architecture)[:80]}; convert the model anew")
    for key, said in _NOT_PLAIN.items():
        if values.get(f"{architecture}.{key}", 0) != 0:
            raise ModelUnfit(f"{said} ({architecture}.{key}), which is not spread over nodes; {_PLAIN}")
    if values.get(f"{architecture}.attention.causal", True) is not True:
        raise ModelUnfit(f"it embeds texts and writes none ({architecture}.attention.causal); {_PLAIN}")
    if architecture not in ARCHITECTURES:
        raise ModelUnfit(f"its architecture is {architecture!r}, of which is not known what a layer takes; {_PLAIN}")
    return architecture


def _whole(values: Mapping[str, Value], key: str, most: int = (1 << 31) - 1, layers: int = 0) -> int:
    """A whole number from 1. layers: where not zero, an array of so many equal numbers will do as well."""
    value = values.get(key)
    if isinstance(value, Row) and layers:
        if value.count != layers or value.same is None:
            raise ModelUnfit(f"{key} is not the same in all of its {layers} layers; {_PLAIN}, whose layers are alike")
        value = value.same
    if type(value) is not int or not 1 <= value <= most:
        shown = "missing" if key not in values else repr(value)[:80]
        raise ModelUnfit(f"{key} is {shown}, and a whole number from 1 to {most} is needed; convert the model anew")
    return value


def _units(tensors: Mapping[str, int], layers: int) -> tuple[tuple[int, ...], int, int]:
    """Bytes of each layer, of the output unit and of the host, from the bytes of the tensors."""
    blocks: list[dict[str, int]] = [{} for _ in range(layers)]
    for name, count in tensors.items():
        found = _BLOCK.fullmatch(name)
        if found and int(found[1]) < layers and found[2] in _LAYER:
            blocks[int(found[1])][found[2]] = count
        elif name not in (_HOST, _SHARED, *_LAST):
            raise ModelUnfit(f"it has a tensor {name!r}, which no plain model of {layers} layers has; {_PLAIN}")
    if _OUTPUT not in tensors:
        raise ModelUnfit(
            f"it has no {_OUTPUT}: its output is its token embedding (tied), which llama.cpp then loads on the host "
            "and on a device; write a model with an output matrix of its own"
        )
    for name in (_HOST, _NORM):
        if name not in tensors:
            raise ModelUnfit(f"it has no tensor {name!r}; convert the model anew")
    for i, block in enumerate(blocks):
        if not block:
            raise ModelUnfit(f"it has no tensor of layer {i} (blk.{i}.) of its {layers}; convert the model anew")
        if block.keys() != blocks[0].keys():
            other = min(block.keys() ^ blocks[0].keys())
            raise ModelUnfit(f"one of layers 0 and {i} has {other!r} and the other has not; {_PLAIN}")
    shared = tensors.get(_SHARED, 0)
    output = sum(tensors.get(name, 0) for name in _LAST)
    return tuple(sum(block.values()) + shared for block in blocks), output, tensors[_HOST]


def _name(value: Value, stem: str) -> str:
    """For people, in one line and of a bounded length."""
    text = value if isinstance(value, str) and value.strip() else stem
    return "".join(c if c.isprintable() else " " for c in text[:_LONGEST_NAME]).strip()
