"""Plans of the tiny model, and what tests ask of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from llama_programs import RpcServer, llama_server
from ports import free_port
from tiny_gguf import LAYERS

from cognitive_actors.llama.coordinator import LlamaCppCoordinator
from cognitive_actors.llama.events import Done
from cognitive_actors.placement import Plan
from cognitive_actors.placement.plans import Share, Split

CONTEXT = 512
#: More than any of this takes, on a machine that has much else to do.
AMPLE = 120.0


def planned(file: Path, servers: Sequence[RpcServer | str], context: int = CONTEXT) -> Plan:
    """All units of the tiny model on these RPC servers, the rest on the last, or, without any, on the coordinator."""
    endpoints = [each if isinstance(each, str) else each.endpoint for each in servers]
    units = [1] * (len(endpoints) - 1) + [LAYERS + 2 - len(endpoints)]
    shares = [Share("n", f"d{i}", each, units[i], 0, 0) for i, each in enumerate(endpoints)]
    split = Split(0 if shares else LAYERS + 1, tuple(shares), 0, 0)
    return Plan("tiny", str(file), context, "exact", "n", split, (), (), ())


def asked(tokens: int = 8, text: str = "abc") -> dict[str, Any]:
    """A chat request whose answer is always the same, and has so many tokens."""
    message = {"role": "user", "content": text}
    return {"messages": [message], "max_tokens": tokens, "temperature": 0, "ignore_eos": True}


def said(chunks: Sequence[bytes]) -> str:
    """The text of the chunks of an answer."""
    choices = [choice for chunk in chunks for choice in json.loads(chunk)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def read(events: AsyncIterator[bytes | Done]) -> tuple[str, list[Done]]:
    """All of an answer, and its ends."""
    everything = [event async for event in events]
    ends = [event for event in everything if isinstance(event, Done)]
    return said([event for event in everything if not isinstance(event, Done)]), ends


@asynccontextmanager
async def started(plan: Plan, **options: Any) -> AsyncIterator[LlamaCppCoordinator]:
    """A coordinator that answers, ended with the test."""
    coordinator = LlamaCppCoordinator(plan, program=llama_server(), base_port=free_port(), **options)
    try:
        await coordinator.start(AMPLE)
        yield coordinator
    finally:
        await coordinator.stop()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test; it fails where it takes long."""
    asyncio.run(asyncio.wait_for(test(), 2 * AMPLE))
