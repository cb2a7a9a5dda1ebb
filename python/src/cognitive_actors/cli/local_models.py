"""The language models of a folder, on an embedded Ray: one machine that is all of its cluster."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from functools import partial
from pathlib import Path
from threading import Event, Thread

from ..cluster import ensure_ray_initialized
from ..cluster.settings import EMBEDDED


def offer(folder: Path, address: str | None) -> None:
    """Connect to an embedded Ray with a place for one coordinator, and report this machine to it while this process
    lives.

    Raises ValueError where there is no llama-server, and on a cluster, whose nodes report themselves.
    """
    # Not needed by those who serve no language models.
    from ..llama.builds import build_of
    from ..llama.model_files import ModelFiles
    from ..llama.notices import Notices
    from ..llama.reporting import Heartbeat
    from ..llama.resources import COORDINATOR
    from ..llama.sensing import Machine

    if address not in (None, EMBEDDED):
        raise _elsewhere(address)
    program = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
    if program is None:
        raise ValueError("there is no llama-server on PATH; install llama.cpp, or name the program in LLAMA_SERVER")
    # Where the coordinator looks for it, which is a process of the embedded Ray.
    os.environ["LLAMA_SERVER"] = program
    build = build_of(program)
    found = ensure_ray_initialized(address, resources={COORDINATOR: 1})
    if found.address != EMBEDDED:
        raise _elsewhere(found.address)
    notices = Notices(partial(print, file=sys.stderr))
    machine = Machine(socket.gethostname(), build, "", (), ModelFiles({}, [folder]), notices)
    heartbeat = Heartbeat(machine, lambda: None, notices)
    heartbeat.once()
    Thread(target=heartbeat.until, args=(Event(), lambda report: None), name="heartbeat", daemon=True).start()


def _elsewhere(address: str | None) -> ValueError:
    return ValueError(
        f"--models is for an embedded Ray, and this is the cluster at {address}; run `cognitive register --models"
        " FOLDER` on each node that has models, and serve cognitive_actors.serve.chat:build"
    )
