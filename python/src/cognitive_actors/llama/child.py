"""A program that runs beside this process and ends with it, whatever happens to it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from .server_log import ServerLog

__all__ = ["Child"]

#: Seconds from TERM to KILL: with an open stream llama-server would not end before its client. A choice.
GRACE = 5.0
#: Seconds that the rest of what it wrote is waited for.
_REST = 1.0
# Asks the kernel to be killed with its parent (prctl, PR_SET_PDEATHSIG), then becomes the program. As a program of its
# own, since Python between fork and exec may hang where there are threads. The parent may have ended before.
_BECOME = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one has ended")
try:
    os.execv(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]} cannot be started: {error.strerror}")
"""


class Child:
    """A process whose output goes to ``log``. Make it with :meth:`start`.

    To Linux its parent is the thread that starts it: the one of the running loop, which in an asynchronous actor lives
    as long as the process.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: ServerLog, transport: asyncio.BaseTransport) -> None:
        self._process, self.log, self._transport = process, log, transport
        self._loop = asyncio.get_running_loop()
        #: Its exit status, negative for a signal, once it has ended.
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self._descriptor = os.pidfd_open(process.pid)
        self._loop.add_reader(self._descriptor, self._reap)

    @classmethod
    async def start(
        cls, program: str, arguments: Sequence[str], environment: Mapping[str, str], log: ServerLog
    ) -> Child:
        """Start the program at a path. That it cannot be run shows in its log, and in that it ends."""
        become = [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid()), program, *arguments]
        process = subprocess.Popen(
            become,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            # What a terminal sends to the processes before it is not for this one.
            start_new_session=True,
        )
        try:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: log, process.stdout)
            return cls(process, log, transport)
        except BaseException:
            process.kill()
            process.wait()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    @property
    def how(self) -> str:
        """In words, how it ended."""
        status = self.ended.result()
        with suppress(ValueError):
            return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        return f"by signal {-status}"

    async def end(self, grace: float = GRACE) -> None:
        """TERM, and KILL where it still runs after ``grace`` seconds; 0 kills at once. Returns when it has ended."""
        if self.alive and grace > 0:
            self._process.terminate()
            await asyncio.wait([self.ended], timeout=grace)
        if self.alive:
            self._process.kill()
            await asyncio.wait([self.ended])
        await self.log.complete(_REST)
        self._transport.close()

    def _reap(self) -> None:
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self.ended.set_result(self._process.wait())
