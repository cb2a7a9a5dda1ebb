"""Which build of llama.cpp a program is of: builds that differ do not speak with each other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from contextlib import suppress

__all__ = ["build_of"]

# llama.cpp's own "version: 11669 (1a2b3c4)", and "version: 0.7.0 (build 11669, commit Debian)".
_BUILD = re.compile(r"^version: (?:([0-9]+) \(|\S+ \(build ([0-9]+)\b)", re.MULTILINE)


def build_of(program: str, deadline: float = 30.0) -> str:
    """The number of the build, from what ``program --version`` says, such as ``11669``.

    deadline: seconds; a program on a cold disk, with libraries for a GPU, takes its time. Raises ValueError where the
    program cannot be started, fails, does not end or says no build.
    """
    asked = f"{program} --version"
    remedy = "give --llama-server the path of llama.cpp's llama-server"
    try:
        process = subprocess.Popen(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # Where llama.cpp says it.
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ValueError(f"{asked} cannot be started: {error.strerror}; {remedy}") from None
    try:
        said, _ = process.communicate(timeout=deadline)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{asked} did not end within {deadline:g} s; {remedy}") from None
    finally:
        _end(process)
    if process.returncode:
        raise ValueError(f"{asked} failed with {process.returncode}: {_last(said)}; {remedy}")
    found = _BUILD.search(said)
    if found is None:
        raise ValueError(f"{asked} says no build: {_last(said)}; {remedy}")
    return found[1] or found[2]


def _end(process: subprocess.Popen[str]) -> None:
    """End the program and what it started, which may hold on to its output."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    return repr(lines[-1][:200]) if lines else "nothing"
