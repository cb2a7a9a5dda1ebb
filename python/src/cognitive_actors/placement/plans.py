"""What the planner says: a plan, or that there is none, and in both cases why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .capacity import MIB

__all__ = ["DoesNotFit", "LeftOut", "Plan", "Ranked", "Share", "Split", "mebibytes"]

#: How many nodes an error's message names; its attributes have all.
NAMED = 20


def mebibytes(size: int) -> int:
    """Bytes in MiB, rounded up."""
    return -(-size // MIB)


class ExactParts(NamedTuple):
    """The score of ``exact``: points for what stays, the file, headroom, being busy and having failed."""

    local: float
    file: float
    headroom: float
    busy: float
    failures: float


class TotalMemoryParts(NamedTuple):
    """The score of ``total-memory``, in MB."""

    ram: float
    vram: float
    model: float
    gpu: float


class Ranked(NamedTuple):
    """A node as a place for the coordinator.

    parts: of the score, None where the policy gives none; notes: in words, one thing each; shortfall: bytes of usable
    RAM that it lacks, and more_ram: bytes of RAM that it would need beside its own, free, for that (a part of them goes
    to the reserve); both None where it is not memory that is missing.
    """

    node: str
    feasible: bool
    parts: ExactParts | TotalMemoryParts | None
    notes: tuple[str, ...]
    shortfall: int | None = None
    more_ram: int | None = None

    @property
    def score(self) -> float | None:
        """The sum of the parts."""
        return None if self.parts is None else sum(self.parts)

    @property
    def why(self) -> tuple[str, ...]:
        """In words, why it can be the coordinator or not."""
        if self.shortfall is None or self.more_ram is None:
            return self.notes
        lacks = f"it lacks {mebibytes(self.shortfall)} MiB of usable RAM"
        return (f"{lacks}, as {mebibytes(self.more_ram)} MiB more RAM would give it", *self.notes)

    def __str__(self) -> str:
        text = f"{self.node}: " + "; ".join(self.why)
        if self.parts is None:
            return text
        parts = " ".join(f"{points:+.0f} {name}" for name, points in self.parts._asdict().items())
        return f"{text}; score {self.score:.0f} = {parts}"


class LeftOut(NamedTuple):
    """An RPC server that no coordinator could use, and why, in words."""

    node: str
    device: str
    endpoint: str
    why: str


@dataclass(frozen=True)
class Share:
    """What one device gets: units, counted as -ngl does; size, cap: bytes that they take and that it may give."""

    node: str
    device: str
    endpoint: str
    units: int
    size: int
    cap: int


@dataclass(frozen=True)
class Split:
    """A model's units, first to last: ``kept`` on the coordinator's CPU, then the shares, in the order of --rpc.

    kept counts layers, and the output unit with them if there is no share; host, cap: bytes of RAM that the coordinator
    takes, all in all, and that it may use.
    """

    kept: int
    shares: tuple[Share, ...]
    host: int
    cap: int


@dataclass(frozen=True)
class Plan:
    """Where a model is to run.

    model: its name; file: its path; context: tokens; policy: which one chose; coordinator: a node's name; arguments: of
    llama-server, without its own name; ranking: all nodes, best first; left_out: RPC servers that could not be used
    by anyone.
    """

    model: str
    file: str
    context: int
    policy: str
    coordinator: str
    split: Split
    arguments: tuple[str, ...]
    ranking: tuple[Ranked, ...]
    left_out: tuple[LeftOut, ...]


class DoesNotFit(Exception):
    """No node can be the model's coordinator. Nothing smaller is tried instead.

    model: its name; context: tokens; ranking: all nodes, the ones that lack least first, each with its reasons;
    left_out: RPC servers that could not be used by anyone.
    """

    def __init__(self, model: str, context: int, ranking: Sequence[Ranked], left_out: Sequence[LeftOut]) -> None:
        # As they are, so that the error survives a way through another process.
        super().__init__(model, context, ranking, left_out)
        self.model, self.context = model, context
        self.ranking, self.left_out = tuple(ranking), tuple(left_out)

    @property
    def shortfalls(self) -> dict[str, int | None]:
        """MiB of usable RAM that each node lacks, by name; None where it is not memory that is missing."""
        return {x.node: None if x.shortfall is None else mebibytes(x.shortfall) for x in self.ranking}

    def __str__(self) -> str:
        lines = [f"{self.model} with a context of {self.context} tokens fits on no node"]
        lines += [str(x) for x in self.ranking[:NAMED]] or ["there is none"]
        if len(self.ranking) > NAMED:
            lines.append(f"and {len(self.ranking) - NAMED} nodes more, see ranking")
        lines += [f"server {x.endpoint} of {x.node}: {x.why}" for x in self.left_out[:NAMED]]
        if len(self.left_out) > NAMED:
            lines.append(f"and {len(self.left_out) - NAMED} servers more, see left_out")
        return "\n  ".join(lines)
