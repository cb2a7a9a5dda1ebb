"""How a plan is said to llama-server (build 11669)."""

from __future__ import annotations

from .plans import Split

__all__ = ["LOOPBACK", "server_arguments"]

#: Where a coordinator listens: it knows one key and no encryption, so that callers come through a program beside it.
LOOPBACK = "127.0.0.1"


def server_arguments(file: str, port: int, context: int, split: Split) -> tuple[str, ...]:
    """The arguments of llama-server, without its own name.

    file: path of the model; port: on loopback; context: tokens. Counts that sum to -ngl are honoured
    exactly, and --fit off keeps llama.cpp from other ideas. Its output must be read or go to a file: with a full pipe
    it hangs.
    """
    arguments = ["-m", file, "--host", LOOPBACK, "--port", str(port), "-c", str(context), "-np", "1", "--metrics"]
    arguments.append("--offline")
    if split.shares:
        arguments += ["--rpc", ",".join(share.endpoint for share in split.shares)]
    arguments += ["-ngl", str(sum(share.units for share in split.shares))]
    if split.shares:
        arguments += ["-ts", ",".join(str(share.units) for share in split.shares)]
    return (*arguments, "--fit", "off")
