"""A chat by way of the cluster beside one with the llama-server itself, in the same run.

    PYTHONPATH=tests python -m benchmarks.chatting [--model FILE.gguf] [--rounds 30] [--tokens 40]

One coordinator on an embedded Ray, without RPC servers; the same model, question and settings on a llama-server of the
benchmark's own. Rounds alternate; what is compared is the medians of the seconds to the first token and between tokens.
Both streams are read alike, by one HTTP client, so that ``/v1`` counts with all of its parts; the router is read as
programs on the cluster read it. An application that only streams shows what of ``/v1`` is Ray Serve's. Both servers
compute on one thread: on two, a machine of two cores would have none left for whoever reads. Without --model it is one
of 25 million parameters, of weights by chance. A promise that is missed is shown, not failed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import ray
from fastapi import Body, FastAPI
from fastapi.responses import StreamingResponse
from llama_programs import llama_server
from ray import serve
from tiny_gguf import tiny_tensors, write_gguf

from cognitive_actors.cluster import ensure_ray_initialized
from cognitive_actors.llama import Done, RayHybridRouter, node_registry
from cognitive_actors.llama.reports import ModelReport, NodeReport
from cognitive_actors.llama.resources import COORDINATOR
from cognitive_actors.placement import read_sizes
from cognitive_actors.serve import chat
from cognitive_actors.serve.named import ROUTER

#: Seconds that are added at most: to the first token, and to each after it.
FIRST, EACH = 0.010, 0.001
PORT, DIRECT = 8766, 18079
NAME = "benchmarked"
Stream = Callable[[], AsyncIterator[Any]]
#: A body that is read, whatever is in it.
_BODY = Body()


class Empty:
    """An answer of two words, at once."""

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = FastAPI()

        @app.post("/chat/completions")
        async def complete(body: Any = _BODY) -> Any:
            return StreamingResponse(self._lines(), media_type="text/event-stream")

        return app

    async def _lines(self) -> AsyncIterator[bytes]:
        for word in "ab":
            yield b'data: {"choices":[{"delta":{"content":"%c"}}]}\n\n' % ord(word)


def question(tokens: int) -> dict[str, Any]:
    """A request whose answer is always the same."""
    messages = [{"role": "user", "content": "abc"}]
    return {"model": NAME, "messages": messages, "max_tokens": tokens, "temperature": 0.0, "ignore_eos": True}


async def lines(session: aiohttp.ClientSession, url: str, body: dict[str, Any]) -> AsyncIterator[bytes]:
    """The events of an answer over HTTP."""
    async with session.post(url, json=body | {"stream": True}) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data: {"):
                yield line


async def timed(stream: Stream) -> tuple[float, float]:
    """Seconds to the first word, and between one word and the next, on average."""
    begin = time.perf_counter()
    moments = []
    async with aclosing(stream()) as events:  # type: ignore[type-var]
        async for event in events:
            if not isinstance(event, Done) and b'"content":"' in event.replace(b'": "', b'":"'):
                moments.append(time.perf_counter())
    return moments[0] - begin, (moments[-1] - moments[0]) / (len(moments) - 1)


def made(folder: Path) -> Path:
    """A model that computes a token in some milliseconds."""
    layers, width, inner, heads = 8, 512, 1408, 8
    keys = {
        "block_count": layers,
        "embedding_length": width,
        "feed_forward_length": inner,
        "attention.head_count": heads,
        "attention.head_count_kv": heads,
        "rope.dimension_count": width // heads,
    }
    return write_gguf(folder / "model.gguf", tiny_tensors(layers, width, inner, width), keys)


def on_one_thread(program: str, folder: Path) -> str:
    """A llama-server that computes on one thread, whoever starts it."""
    found = folder / "llama-server"
    found.write_text(f'#!/bin/sh\nexec {shlex.quote(program)} "$@" --threads 1\n')
    found.chmod(0o755)
    return str(found)


def register(model: Path) -> None:
    """This machine, with the model."""
    memory = psutil.virtual_memory()
    report = NodeReport(
        "here",
        ray.get_runtime_context().get_node_id(),
        ray.util.get_node_ip_address(),
        "here",
        memory.total,
        memory.available,
        models=(ModelReport(NAME, str(model), sizes=read_sizes(model)),),
    )
    ray.get(node_registry().report.remote(report))


async def compare(options: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """The figures of each round, by who was asked."""
    register(options.model)
    # While it runs nobody else may say that the report is stale: the model is loaded at once, and stays.
    router = RayHybridRouter(name=ROUTER)
    body = question(options.tokens)
    asked = {key: value for key, value in body.items() if key not in ("model", "messages")}
    async with aiohttp.ClientSession() as session:
        streams: dict[str, Stream] = {
            "llama-server": lambda: lines(session, f"http://127.0.0.1:{DIRECT}/v1/chat/completions", body),
            "router": lambda: router.astream(NAME, body["messages"], **asked),
            "/v1": lambda: lines(session, f"http://127.0.0.1:{PORT}/v1/chat/completions", body),
            "empty": lambda: lines(session, f"http://127.0.0.1:{PORT}/empty/chat/completions", body),
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in streams}
        for number in range(options.rounds + 2):
            for name, stream in streams.items():
                figures = await timed(stream)
                # The first ones find everything cold.
                if number >= 2:
                    found[name].append(figures)
    return found


def main() -> None:
    """Measure, print a table and write the figures where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=40)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    try:
        # As the tests have it, which put it there where it can be had.
        program = llama_server()
    except pytest.skip.Exception as missing:
        parser.error(str(missing))
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        options.model = options.model or made(Path(folder))
        program = on_one_thread(program, Path(folder))
        os.environ["LLAMA_SERVER"] = program
        ensure_ray_initialized("local", resources={COORDINATOR: 1})
        context = str(min(4096, read_sizes(options.model).context))
        command = [program, "-m", options.model, "--host", "127.0.0.1", "--port", str(DIRECT), "-c", context]
        direct = subprocess.Popen([*command, "-np", "1", "--offline", "-ngl", "0"], stdout=log, stderr=log)
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": PORT})
            serve.run(chat.build({}), name="chat", route_prefix="/v1")
            serve.run(serve.deployment(serve.ingress()(Empty)).bind(), name="empty", route_prefix="/empty")
            found = asyncio.run(compare(options))
        finally:
            direct.kill()
            direct.wait()
            serve.shutdown()
    medians = {name: tuple(map(statistics.median, zip(*figures, strict=True))) for name, figures in found.items()}
    (serves, _), (first, each) = medians["empty"], medians["llama-server"]
    for name in ("llama-server", "router", "/v1"):
        its_first, its_each = medians[name]
        more = f"{1e3 * (its_first - first):+7.2f} ms, {1e3 * (its_each - each):+6.2f} ms"
        print(f"{name:13} first token {1e3 * its_first:7.2f} ms, each {1e3 * its_each:6.2f} ms; added {more}")
    print(
        f"of /v1 to the first token {1e3 * serves:.2f} ms are Ray Serve's: an application that only streams takes them"
    )
    print(f"promised: at most {1e3 * FIRST:.0f} ms to the first token and {1e3 * EACH:.0f} ms to each")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "chatting.json").write_text(json.dumps({"medians": medians, "rounds": found}, indent=1))


if __name__ == "__main__":
    main()
