"""The sizes are those that llama.cpp itself logs: a model whose layers differ, part of it on an RPC server."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from llama_programs import llama_server, rpc_server, running, waited
from ports import free_port
from tiny_gguf import TOKENS, Kind, Tensors, layer, write_gguf

from cognitive_actors.placement import read_sizes
from cognitive_actors.placement.gguf import ARCHITECTURES

#: Of the model, large enough for a log that rounds to 0.01 MiB.
WIDTH, INNER, KV_WIDTH = 512, 1024, 256
KINDS = (Kind.F16, Kind.Q8_0, Kind.Q4_K, Kind.F32)
MIB = 1 << 20

#: What a layer has beside those of Llama, in each architecture.
MORE = {
    "llama": {},
    "qwen2": {"attn_q.bias": (WIDTH,), "attn_k.bias": (KV_WIDTH,), "attn_v.bias": (KV_WIDTH,)},
    "qwen3": {"attn_q_norm.weight": (WIDTH // 4,), "attn_k_norm.weight": (WIDTH // 4,)},
}


def mixed(architecture: str) -> Tensors:
    """Four layers of four types."""
    tensors: Tensors = {"token_embd.weight": (Kind.Q8_0, (len(TOKENS), WIDTH))}
    for i, kind in enumerate(KINDS):
        for name, shape in {**layer(WIDTH, INNER, KV_WIDTH), **MORE[architecture]}.items():
            matrix = len(shape) == 2
            tensors[f"blk.{i}.{name}"] = (kind, shape) if matrix else np.ones(shape, np.float32)
    tensors["output_norm.weight"] = np.ones(WIDTH, np.float32)
    tensors["output.weight"] = (Kind.Q6_K, (len(TOKENS), WIDTH))
    return tensors


@pytest.mark.parametrize(
    ("architecture", "units"), [*(("llama", n) for n in range(1, 6)), *((name, 3) for name in ARCHITECTURES[1:])]
)
def test_buffers_are_what_llama_server_says(tmp_path: Path, architecture: str, units: int) -> None:
    server, rpc = llama_server(), rpc_server()
    lengths = {"embedding_length": WIDTH, "feed_forward_length": INNER, "rope.dimension_count": WIDTH // 4}
    path = write_gguf(tmp_path / "mixed.gguf", mixed(architecture), lengths, architecture)
    sizes = read_sizes(path)
    port, log, far = free_port(), tmp_path / "server.log", tmp_path / "rpc.log"
    with running(far, rpc, "-H", "127.0.0.1", "-p", str(port)) as remote:
        waited(remote, far, r"(?i)endpoint")
        options = f"-c 300 -np 1 -t 1 --offline --no-warmup --fit off --log-verbosity 5 -ngl {units}"
        where = ["--host", "127.0.0.1", "--port", str(free_port()), "--rpc", f"127.0.0.1:{port}"]
        with running(log, server, "-m", str(path), *where, *options.split()) as process:
            text = waited(process, log, "listening on")
    layers = units - 1
    blocks = sizes.blocks[len(sizes.blocks) - layers :]
    check(text, "RPC.* model", sum(blocks) + sizes.output)
    # Some of the host's weights are laid out anew for its processor, in a buffer of their own.
    check(text, r"CPU\w* model", sizes.host + sum(sizes.blocks) - sum(blocks))
    check(text, "RPC.* KV", sizes.cache(300) * layers)
    check(text, "CPU KV", sizes.cache(300) * (len(sizes.blocks) - layers))


def check(log: str, which: str, count: int) -> None:
    """The buffers of this kind take so many bytes together, as well as a log of hundredths of a MiB can say it."""
    found = [float(number) for number in re.findall(rf"{which} buffer size = +([0-9.]+) MiB", log)]
    assert bool(found) == bool(count), (which, found)
    assert sum(found) == pytest.approx(count / MIB, abs=0.006 * max(len(found), 1)), which
