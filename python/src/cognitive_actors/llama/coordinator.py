"""The coordinator of a model: a llama-server of this node, and the RPC servers that its plan gives it."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
from collections.abc import AsyncGenerator, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from ..placement import Plan
from ..placement.arguments import LOOPBACK, server_arguments
from .child import Child
from .completions import BROKEN, BrokenOff, Completions
from .errors import CoordinatorFailed, DeadlineExceeded, RequestRefused
from .events import Done
from .rpc import says_hello, silent
from .server_log import ServerLog

__all__ = ["LlamaCppCoordinator"]

#: The first port that is tried, as in SOLLOL's guide, and how many are. The latter is a choice.
BASE_PORT, PORTS = 18080, 1000
#: Seconds for an RPC server to say hello: it may have to end a batch first. A choice.
HELLO = 5.0
#: Seconds from a connection's end to that of its process.
_ENDING = 1.0
_POLL = 0.05


class LlamaCppCoordinator:
    """Starts, watches, asks and ends one llama-server. One that failed stays failed; make another.

    plan: whose coordinator's node this is; its RPC servers must be leased, since they are greeted; program: name or
    path of llama-server, which the variable LLAMA_SERVER overrides; base_port: the first that is tried, that of the
    variable LLAMA_BASE_PORT or 18080 where it is None; model: what answers call it.
    """

    def __init__(
        self, plan: Plan, *, program: str = "llama-server", base_port: int | None = None, model: str | None = None
    ) -> None:
        self._plan, self._program = plan, program
        self._base_port = int(os.environ.get("LLAMA_BASE_PORT") or BASE_PORT) if base_port is None else base_port
        self._model = model or plan.model
        self._endpoints = tuple(share.endpoint for share in plan.split.shares)
        self._child: Child | None = None
        self._server: Completions | None = None
        self._failing: asyncio.Task[CoordinatorFailed] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._stopping = False
        self.port = 0

    @property
    def pid(self) -> int:
        """Of llama-server; 0 before it is started."""
        return self._child.pid if self._child else 0

    @property
    def compute(self) -> int:
        """Bytes of the largest compute buffer of a device, 0 where the log did not say it."""
        return self._child.log.compute if self._child else 0

    @property
    def alive(self) -> bool:
        """Whether it runs and did not fail. That it could answer, only ``check`` knows."""
        return self._server is not None and self._child is not None and self._child.alive and self._failing is None

    async def start(self, seconds: float) -> None:
        """Load the model and have it compute a token.

        Raises CoordinatorFailed where that did not happen within ``seconds``; nothing then runs, and the suspects are
        the RPC servers that do not answer.
        """
        if self._child is not None:
            raise ValueError("this coordinator was started before; make another")
        end = asyncio.get_running_loop().time() + seconds
        path = self._path()
        if missing := await silent(self._endpoints, min(HELLO, seconds)):
            raise CoordinatorFailed("; ".join(each.why for each in missing), _suspects(missing))
        for port in _free_ports(self._base_port):
            self.port = port
            if await self._started(path, port, end, seconds):
                self._watching = asyncio.create_task(self._watch())
                return
        last = self._base_port + PORTS - 1
        raise CoordinatorFailed(f"no port of {self._base_port} to {last} is free here; name another base_port")

    async def check(self, seconds: float) -> None:
        """Have one token computed. Raises CoordinatorFailed, and ends the server, where it is not within ``seconds``.

        It waits behind a request that is under way.
        """
        server = await self._ready()
        try:
            async with asyncio.timeout(seconds):
                await server.one_token()
        except TimeoutError:
            raise await self._fail(f"llama-server computed no token within {seconds:g} s") from None
        except (*BROKEN, RequestRefused) as error:
            await self._end_shows()
            raise await self._fail(f"llama-server computed no token: {error}") from error

    async def chat(self, body: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The whole answer to a chat completion of OpenAI's API. Raises as ``stream``."""
        server = await self._ready()
        try:
            async with asyncio.timeout(seconds):
                return await server.chat(body)
        except TimeoutError:
            raise _late(seconds) from None
        except BROKEN as error:
            raise await self._broken(error) from error

    async def stream(self, body: Mapping[str, Any], seconds: float) -> AsyncGenerator[bytes | Done, None]:
        """The chunks of a chat completion of OpenAI's API, JSON each, as they come, and Done at the end.

        Raises RequestRefused for what llama-server refuses; DeadlineExceeded where Done was not there within
        ``seconds``; CoordinatorFailed where it ended without. Leaving the iterator early (``aclose``) cancels the
        request.
        """
        end = asyncio.get_running_loop().time() + seconds
        server = await self._ready()
        async with aclosing(server.stream(body)) as events:
            while True:
                try:
                    # Around each, since a deadline around a yield would strike whoever reads.
                    async with asyncio.timeout_at(end):
                        event = await anext(events)
                except TimeoutError:
                    raise _late(seconds) from None
                except BROKEN as error:
                    raise await self._broken(error) from error
                yield event
                if isinstance(event, Done):
                    return

    async def failed(self) -> CoordinatorFailed | None:
        """Wait until it fails, and say how; None once it was stopped."""
        await self._over.wait()
        return await asyncio.shield(self._failing) if self._failing else None

    async def stop(self) -> None:
        """End the server: what is under way fails."""
        self._stopping = True
        if self._server:
            await self._server.close()
        if self._child:
            await self._child.end()
        if self._watching:
            await self._watching
        self._over.set()

    def _path(self) -> str:
        name = os.environ.get("LLAMA_SERVER") or self._program
        found = shutil.which(name)
        if found is None:
            raise CoordinatorFailed(
                f"there is no program {name!r} on {socket.gethostname()}; install llama.cpp with RPC, or name its"
                " llama-server in LLAMA_SERVER"
            )
        return found

    async def _started(self, path: str, port: int, end: float, seconds: float) -> bool:
        """Whether the server is there; False where another program took the port meanwhile."""
        # Random, and not an argument: those are seen by everybody on the machine.
        key = secrets.token_hex(32)
        plan, log = self._plan, ServerLog()
        arguments = server_arguments(plan.file, port, plan.context, plan.split)
        # The sizes of compute buffers are said from the fourth level on.
        more = ("--alias", self._model, "--log-verbosity", "4")
        child = await Child.start(path, [*arguments, *more], _environment(key), log)
        server = Completions(port, key)
        try:
            async with asyncio.timeout_at(end):
                await _before_its_end(child, _answers(server))
                if self._stopping:
                    raise BrokenOff("the coordinator was stopped")
                self._child, self._server = child, server
                log.loaded = True
                return True
        except TimeoutError:
            why = f"llama-server does not answer within {seconds:g} s"
        except (*BROKEN, RequestRefused) as error:
            why = f"llama-server did not start: {error}"
        finally:
            how = "" if child.alive else f", and ended {child.how}"
            if self._child is not child:
                await server.close()
                await child.end(0)
        if log.port_taken:
            return False
        found = await silent(self._endpoints, HELLO) or await _others(log, self._endpoints)
        who = "".join(f"; {each.why}" for each in found)
        raise CoordinatorFailed(f"{why}{how}{who}:{log.last}", _suspects(found))

    async def _ready(self) -> Completions:
        if self._failing is not None:
            raise _again(await asyncio.shield(self._failing))
        if self._server is None or self._stopping:
            raise CoordinatorFailed("the coordinator does not run: it was not started, or was stopped")
        return self._server

    async def _watch(self) -> None:
        assert self._child is not None
        await asyncio.wait([self._child.ended])
        if not self._stopping:
            await self._fail("llama-server ended")

    async def _fail(self, why: str) -> CoordinatorFailed:
        """End what does not answer and look who is at fault: once, whoever finds it first. Returns what was found."""
        if self._stopping:
            return CoordinatorFailed("the coordinator was stopped")
        if self._failing is None:
            self._failing = asyncio.create_task(self._look_who(why))
            self._over.set()
        return _again(await asyncio.shield(self._failing))

    async def _look_who(self, why: str) -> CoordinatorFailed:
        assert self._child is not None
        assert self._server is not None
        how = "" if self._child.alive else f" {self._child.how}"
        # Before the RPC servers are greeted: they serve one client at a time.
        await self._child.end(0)
        await self._server.close()
        found = await silent(self._endpoints, HELLO)
        who = "".join(f"; {each.why}" for each in found)
        return CoordinatorFailed(f"{why}{how}{who}:{self._child.log.last}", _suspects(found))

    async def _end_shows(self) -> bool:
        """Whether the server has ended, which its connections show a little before its process does."""
        assert self._child is not None
        await asyncio.wait([self._child.ended], timeout=_ENDING)
        return not self._child.alive or self._failing is not None

    async def _broken(self, error: Exception) -> CoordinatorFailed:
        if self._stopping or await self._end_shows():
            return await self._fail("llama-server ended")
        return CoordinatorFailed(f"llama-server broke off its answer: {error or type(error).__name__}")


def _environment(key: str) -> dict[str, str]:
    # Its options could be given by variables as well, and would not be those of the plan. Without a debugger's look at
    # it, which takes seconds, it ends as soon as something is wrong.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_ARG_")}
    return {**kept, "LLAMA_API_KEY": key, "GGML_NO_BACKTRACE": "1"}


def _free_ports(base: int) -> Iterator[int]:
    return filter(_is_free, range(base, min(base + PORTS, 65536)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # What only waits out its last connections does not keep a server from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


async def _answers(server: Completions) -> None:
    while not await server.loaded():
        await asyncio.sleep(_POLL)
    await server.one_token()


async def _before_its_end(child: Child, work: Coroutine[Any, Any, None]) -> None:
    """Do what the server is to answer; raises BrokenOff when it ends. Who else has its port may take forever."""
    task = asyncio.create_task(work)
    try:
        either: list[asyncio.Future[Any]] = [task, child.ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise BrokenOff("it does not run")
        task.result()
    finally:
        task.cancel()


async def _others(log: ServerLog, endpoints: Sequence[str]) -> tuple[CoordinatorFailed, ...]:
    """RPC servers that say hello, but in another version than llama-server, as its log has it."""
    found = []
    for endpoint in log.mismatched(endpoints):
        version = ".".join(map(str, await says_hello(endpoint, HELLO)))
        why = f"version mismatch: RPC server {endpoint} speaks version {version} of its protocol, llama-server another"
        found.append(CoordinatorFailed(f"{why}; have the same build on all nodes", (endpoint,)))
    return tuple(found)


def _suspects(found: tuple[CoordinatorFailed, ...]) -> tuple[str, ...]:
    return tuple(endpoint for each in found for endpoint in each.suspects)


def _again(failure: CoordinatorFailed) -> CoordinatorFailed:
    """The same to be raised elsewhere: an exception gathers where it has been."""
    return CoordinatorFailed(failure.why, failure.suspects)


def _late(seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"the answer was not complete within {seconds:g} s; ask for fewer tokens, or give more time"
    )
