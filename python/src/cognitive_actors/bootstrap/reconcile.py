"""What differs between what is to live on a cluster and what lives there: values only, no Ray and no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: kept as it is; started, where there was none; replaced by another one of its name; ended, where none is wanted.
Action = Literal["kept", "started", "replaced", "ended"]


@dataclass(frozen=True)
class Wanted:
    """An actor that is to live. made: with what, by name; of what is not named here, anything will do."""

    kind: str
    name: str
    made: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Living:
    """An actor that lives. made: with what, as it says itself; None for one that does not answer. stopping: it has been
    told to stop, and works no more."""

    kind: str
    name: str
    made: Mapping[str, Any] | None
    stopping: bool = False


@dataclass(frozen=True)
class Step:
    """What becomes of an actor, and why; nothing need be said of one that is kept."""

    kind: str
    name: str
    action: Action
    why: str = ""


def steps(wanted: Sequence[Wanted], living: Sequence[Living]) -> list[Step]:
    """One for each actor that is to live, in their order, and then those of whom too many live.

    No two of either have the same name. Where it has been done, the steps that follow keep everything.
    """
    there = {each.name: each for each in living}
    names = {each.name for each in wanted}
    surplus = [each for each in living if each.name not in names]
    return [
        *(_step(each, there.get(each.name)) for each in wanted),
        *(Step(each.kind, each.name, "ended", "there are more than are wanted") for each in surplus),
    ]


def _step(wanted: Wanted, found: Living | None) -> Step:
    if found is None:
        return Step(wanted.kind, wanted.name, "started", "there was none")
    why = _unfit(wanted, found)
    return Step(wanted.kind, wanted.name, "replaced" if why else "kept", why)


def _unfit(wanted: Wanted, found: Living) -> str:
    """Why one that lives will not do; nothing if it will."""
    if found.made is None:
        return "it did not answer"
    if found.stopping:
        return "it had been told to stop"
    for name, value in wanted.made.items():
        if found.made.get(name) != value:
            return f"it was made for other {name}: {_shown(found.made.get(name))}, not {_shown(value)}"
    return ""


def _shown(value: Any) -> str:
    """A value in a few words: what a mapping maps is of use only to who looks closer."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} by {value[key]}" for key in sorted(value)) or "none"
    return "none" if value is None else str(value)
