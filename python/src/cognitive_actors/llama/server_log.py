"""What llama-server writes: the last lines for errors, the size of compute buffers, all of it for the journal."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["ServerLog"]

#: Where systemd takes lines of a program, if it runs here (sd_journal_stream_fd, systemd-cat).
JOURNAL = Path("/run/systemd/journal/stdout")
#: Lines that are kept, characters of each, and lines that an error shows. Choices.
KEPT, LINE, SHOWN = 200, 1000, 5
# A time and a level below errors, or the rest of such a line.
_ROUTINE = re.compile(r"[0-9.]+ [WIDT] |\s")
_COMPUTE = re.compile(r"(\S+) +compute buffer size = +([0-9]+\.?[0-9]*) MiB")


class ServerLog(asyncio.Protocol):
    """The reader of the pipe that a llama-server writes to.

    A pipe, because a file would grow as long as the server lives, and the journal could not be read again from here. It
    is read by the loop of the process that the server ends with, so it is never full for long; what the journal does
    not take at once is lost rather than waited for. Without systemd the lines go to Python's logger ``llama-server``.
    Once the server is ``loaded``, only what tells of trouble goes there: each request has twenty lines.
    """

    def __init__(self, journal: Path = JOURNAL) -> None:
        self._lines: deque[str] = deque(maxlen=KEPT)
        self._rest = b""
        self._forward = _forwarder(journal)
        self._ended = asyncio.Event()
        self.loaded = False
        #: Bytes of the largest compute buffer of a device that is not the host's CPU; 0 where none was said.
        self.compute = 0

    @property
    def port_taken(self) -> bool:
        """Whether it could not listen."""
        return any("couldn't bind" in line for line in self._lines)

    @property
    def _trouble(self) -> list[str]:
        return [line for line in self._lines if not _ROUTINE.match(line)]

    def mismatched(self, endpoints: Iterable[str]) -> tuple[str, ...]:
        """Those of some RPC servers whose greeting llama-server did not accept. Which version they speak it says as
        well, but in a line that may be lost as it aborts.
        """
        words = {word for line in self._trouble if "handshake failed" in line for word in line.split()}
        return tuple(endpoint for endpoint in endpoints if endpoint in words)

    @property
    def last(self) -> str:
        """The last lines that tell of trouble, for people; the last of any kind where none does."""
        lines = self._trouble or list(self._lines)
        return "\n  ".join(["", *lines[-SHOWN:]]) if lines else " it wrote nothing"

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        # A line without end is cut: what is read is bounded, whatever is written.
        self._rest = rest[:LINE]
        for line in lines:
            self._take(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._take(self._rest)
        self._rest = b""
        self._ended.set()

    async def complete(self, seconds: float) -> None:
        """Wait until all is read, or for ``seconds``: a grandchild may keep the pipe open."""
        try:
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        except TimeoutError:
            return

    def _take(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()[:LINE]
        if not line:
            return
        routine = _ROUTINE.match(line) is not None
        self._lines.append(line)
        found = _COMPUTE.search(line)
        if found and not found[1].startswith("CPU"):
            self.compute = max(self.compute, round(float(found[2]) * (1 << 20)))
        if not (routine and self.loaded):
            self._forward(line)


def _forwarder(journal: Path) -> Callable[[str], None]:
    logger = logging.getLogger("llama-server")
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.connect(str(journal))
        # Identifier, unit, priority (6: information), and no prefixes of levels, nor syslog, kernel log or console.
        stream.sendall(b"llama-server\n\n6\n0\n0\n0\n0\n")
        stream.setblocking(False)
    except OSError:
        stream.close()
        return logger.info

    def forward(line: str) -> None:
        try:
            stream.send(line.encode() + b"\n")
        except OSError:
            logger.debug("the journal does not take: %s", line)

    return forward
