"""What a pool says beside the text of an answer."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Done", "Failure", "Loaded", "Status"]


class Done(NamedTuple):
    """The end of an answer that is complete.

    finish_reason: of OpenAI's API, as ``stop`` or ``length``; usage: counts of tokens, as llama-server gives them.
    """

    finish_reason: str
    usage: dict[str, Any]


class Loaded(NamedTuple):
    """A model that answers.

    port, pid: of its llama-server; compute: bytes of the largest compute buffer of its devices, 0 where the log does
    not say it; node: its id in Ray, empty outside of Ray.
    """

    port: int
    pid: int
    compute: int
    node: str


class Failure(NamedTuple):
    """What became of a pool that failed: as in CoordinatorFailed."""

    why: str
    suspects: tuple[str, ...]


class Status(NamedTuple):
    """in_flight, waiting: requests now; served: answers that were complete; failed: why, None where all is well."""

    in_flight: int
    waiting: int
    served: int
    failed: str | None
