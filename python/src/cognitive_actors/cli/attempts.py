"""``cognitive run`` in attempts: where its cluster is lost under it, it goes on from the last commit.

Ray ends a driver whose node or head is gone from native code, where nothing can be caught; and a token or certificate
that was replaced is read by a new process only. So the process that is called stays apart from Ray, and forks one that
does the work. That one says over a socket how far it has come. When it is lost after it had begun, another one takes
its place; one that is ended without a word before it had begun, too, for a while. Nothing heavy is imported here: a
fork wants a process without threads.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from typing import NoReturn

#: Exit code of a command that has no cluster.
NO_CLUSTER = 3
_FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_BLOCKED = _FORWARDED | {signal.SIGCHLD}
_LONGEST_PAUSE = 5.0
#: Seconds from the call for which a driver is begun again that was ended while it was starting. After that it is no
#: accident: Ray also ends a driver without a word that it cannot let in.
_STARTING = 120.0

# To the process that was called; None where this one is not an attempt of it.
_link: socket.socket | None = None
_said: set[str] = set()


@dataclass(frozen=True)
class Ending:
    """How an attempt ended.

    code: what a shell would say; stopped: it was asked to end; said: what it has said, by its first word.
    """

    code: int
    stopped: bool
    said: dict[str, str]

    @property
    def lost(self) -> bool:
        """Whether it was the cluster that ended it: it says so, or something ended it without a word."""
        return not self.stopped and (self.code == NO_CLUSTER or (self.code != 0 and "ended" not in self.said))

    @property
    def error(self) -> str:
        """What was wrong, in one sentence."""
        return self.said.get("error") or "something ended this driver: Ray, because its node was lost, or the kernel"


def begin() -> None:
    """Return in the process that does the work, once for each attempt; the process that was called stays in here."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
    called, pause, resume = time.monotonic(), 0.5, False
    deadline = called
    while True:
        ours, theirs = socket.socketpair()
        child = os.fork()
        if not child:
            ours.close()
            _work(theirs, resume=resume)
            return
        theirs.close()
        ending = _await(child, ours)
        patience = float(ending.said.get("patience", 0))
        if "committed" in ending.said or ("began" in ending.said and not resume):
            deadline, pause, resume = time.monotonic() + patience, 0.5, True
        elif not resume:
            deadline = called + (0.0 if "ended" in ending.said else min(patience, _STARTING))
        left = deadline - time.monotonic()
        if not ending.lost or left <= 0:
            _leave(ending, begun=resume)
        what = "going on from the last commit" if resume else "beginning again"
        print(f"{ending.error}; {what} (trying for {left:.0f} s)", file=sys.stderr, flush=True)
        _pause(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def say(word: str, value: object = "") -> None:
    """Tell the process that was called: "patience" (seconds), "began", "committed", "error" (a sentence), "ended"."""
    if _link is not None and word not in _said:
        _said.add(word)
        _link.sendall(f"{word} {' '.join(str(value).split())}\n".encode())


def others_follow(code: int) -> bool:
    """Whether this code is not the end: another attempt follows, or the process that was called has the last word."""
    return code == NO_CLUSTER and "began" in _said


def _work(link: socket.socket, *, resume: bool) -> None:
    global _link
    _link = link
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
    if resume and "--resume" not in sys.argv:
        sys.argv.append("--resume")

    def end_with_the_caller() -> None:
        link.recv(1)
        os.kill(os.getpid(), signal.SIGKILL)

    # Nobody would wait for this process any more, and whoever calls the command again would find its lock.
    threading.Thread(target=end_with_the_caller, name="end with the caller", daemon=True).start()


def _await(child: int, link: socket.socket) -> Ending:
    """Hand signals on until the child has ended."""
    stopped = False
    while True:
        received = signal.sigwait(_BLOCKED)
        if received != signal.SIGCHLD:
            stopped = True
            os.kill(child, received)
            continue
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            break
    with link, link.makefile() as lines:
        said = [line.rstrip("\n").partition(" ") for line in lines]
    code = os.waitstatus_to_exitcode(status)
    return Ending(code if code >= 0 else 128 - code, stopped, {word: value for word, _, value in said})


def _pause(seconds: float) -> None:
    """Sleep as an ordinary process, which a signal ends."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _BLOCKED)
    try:
        time.sleep(seconds)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)


def _leave(ending: Ending, *, begun: bool) -> NoReturn:
    if not ending.lost:
        sys.exit(ending.code)
    if begun and "--json" in sys.argv:
        print(json.dumps({"error": ending.error, "exit_code": NO_CLUSTER}))
    if "ended" not in ending.said:
        print(f"error: {ending.error}", file=sys.stderr)
    if begun:
        print("run the same command with --resume to go on", file=sys.stderr)
    sys.exit(NO_CLUSTER)
