"""Which order things that wait for each other can have, if any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter


def find_cycle(after: Mapping[str, Iterable[str]]) -> list[str]:
    """Names that wait for each other in a circle, each after the next and the first again at the end; else none."""
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []
