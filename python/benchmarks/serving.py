"""``/cognitive/execute`` beside an empty FastAPI application, on the same Ray Serve in the same run.

    python -m benchmarks.serving [--rounds 5] [--seconds 10] [--clients 64]

Rounds alternate; what is compared is the medians. The load comes from a process of its own, on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve

from cognitive_actors.cluster import ensure_ray_initialized
from cognitive_actors.serve import cognitive

#: Least share of the throughput, and most times the 99th percentile, of the empty application.
THROUGHPUT, P99 = 0.7, 2.0
PORT = 8765
BODY = json.dumps({"agent": "%s", "observation": {"weather": "rain", "wind": "calm"}})


def empty() -> serve.Application:
    """As little as an application can do: read a JSON object, and answer one."""
    app = FastAPI()

    @app.post("/execute")
    async def execute(stimulus: dict[str, Any]) -> dict[str, str]:
        return {"agent": str(stimulus["agent"])}

    return serve.deployment(name="Empty", max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.1})(
        serve.ingress(app)(type("Empty", (), {}))
    ).bind()


async def _client(path: str, agent: str, end: float, latencies: list[float]) -> None:
    """One connection that asks again as soon as it is answered. Raises where an answer is no 200."""
    body = (BODY % agent).encode()
    fields = ("Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}")
    request = "\r\n".join((f"POST {path} HTTP/1.1", *fields, "", "")).encode() + body
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    try:
        while (begin := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status, _, said = head.decode().lower().partition("\r\n")
            if " 200 " not in f"{status} ":
                raise RuntimeError(f"{path} answers {status}")
            if "transfer-encoding: chunked" in said:
                while int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
                    await reader.readuntil(b"\r\n")
                await reader.readuntil(b"\r\n")
            else:
                await reader.readexactly(int(said.partition("content-length:")[2].partition("\r\n")[0]))
            latencies.append(time.perf_counter() - begin)
    finally:
        writer.close()


def _load(path: str, clients: int, seconds: float, found: Any) -> None:
    async def run() -> list[float]:
        latencies: list[float] = []
        end = time.perf_counter() + seconds
        await asyncio.gather(*(_client(path, f"agent {number}", end, latencies) for number in range(clients)))
        return latencies

    found.send(asyncio.run(run()))


def measure(path: str, clients: int, seconds: float) -> dict[str, float]:
    """Requests per second, and the median and 99th percentile of the latency in milliseconds."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    load = multiprocessing.get_context("spawn").Process(target=_load, args=(path, clients, seconds, theirs))
    load.start()
    if not ours.poll(seconds + 60):
        load.kill()
        raise RuntimeError(f"no load on {path}")
    latencies = sorted(ours.recv())
    load.join()
    return {
        "per_second": len(latencies) / seconds,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[len(latencies) * 99 // 100],
    }


def main() -> None:
    """Measure both in alternating rounds, print a table and write the figures where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"))
    options = parser.parse_args()
    ensure_ray_initialized("local")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(empty(), name="empty", route_prefix="/empty")
    serve.run(cognitive.build({"batch": 32}), name="cognitive", route_prefix="/cognitive")
    rounds: dict[str, list[dict[str, float]]] = {"empty": [], "cognitive": []}
    for name in rounds:  # the first requests find everything cold
        measure(f"/{name}/execute", options.clients, 2.0)
    for _ in range(options.rounds):
        for name, found in rounds.items():
            found.append(measure(f"/{name}/execute", options.clients, options.seconds))
    medians = {
        name: {figure: statistics.median(each[figure] for each in found) for figure in found[0]}
        for name, found in rounds.items()
    }
    share = medians["cognitive"]["per_second"] / medians["empty"]["per_second"]
    slower = medians["cognitive"]["p99_ms"] / medians["empty"]["p99_ms"]
    for name, figures in medians.items():
        print(f"{name:10}", *(f"{figure} {value:8.1f}" for figure, value in figures.items()))
    print(f"throughput {share:.2f} of the empty one (promised {THROUGHPUT}), p99 {slower:.2f} times (promised {P99})")
    options.output.mkdir(parents=True, exist_ok=True)
    report = {"medians": medians, "rounds": rounds, "throughput": share, "p99": slower}
    (options.output / "serving.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
