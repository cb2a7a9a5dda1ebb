"""The named dispatchers and the reaper of a cluster's tasks: made by whoever needs them first, and outliving it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cluster.settings import default_namespace
from ..dispatch import LedgerStore, QueueDispatcher, Reaper, TaskStore, open_store
from .named import shared_options

#: What the dispatchers are called, with their number behind it, and the reaper.
DISPATCHER, REAPER = "cognitive-dispatcher", "cognitive-reaper"


def dispatchers(
    place: str | Path | None, count: int, handlers: Mapping[str, str], namespace: str | None = None
) -> list[Any]:
    """The first ``count`` dispatchers, those made that are not there. They may still be starting.

    place: as :func:`cognitive_actors.dispatch.open_store` takes it; handlers: as of QueueDispatcher, and what is there
    keeps its own; namespace: of the actors and of the ledger, that of the cluster's drivers if left out. Raises what
    ``open_store`` raises. Blocks while the store is opened.
    """
    if not count:
        return []
    tasks = _sent(place, namespace)
    return [dispatcher(name, tasks, handlers, namespace) for name in names(count)]


def reaper(place: str | Path | None, namespace: str | None = None, forget: float | None = None) -> Any:
    """The reaper, made where there is none. It may still be starting.

    forget: seconds after which tasks that were done or cancelled are removed, never if left out; the others, and
    errors, as of :func:`dispatchers`.
    """
    return reaper_of(REAPER, _sent(place, namespace), forget, namespace)


def names(count: int, first: str = DISPATCHER) -> list[str]:
    """What so many dispatchers are called. first: before the number of each."""
    return [f"{first}-{number}" for number in range(count)]


def dispatcher(
    name: str, tasks: TaskStore | str | None, handlers: Mapping[str, str], namespace: str | None = None
) -> Any:
    """The dispatcher of a name, made where there is none. tasks, handlers: as of QueueDispatcher."""
    options = _options(name, namespace)
    return QueueDispatcher.options(**options).remote(tasks, dict(handlers), name=name)  # type: ignore[attr-defined]


def reaper_of(
    name: str, tasks: TaskStore | str | None, forget: float | None = None, namespace: str | None = None
) -> Any:
    """The reaper of a name, made where there is none. tasks, forget: as of Reaper."""
    return Reaper.options(**_options(name, namespace)).remote(tasks, forget=forget)  # type: ignore[attr-defined]


def _options(name: str, namespace: str | None) -> dict[str, Any]:
    return {**shared_options(name), **({} if namespace is None else {"namespace": namespace})}


def _sent(place: str | Path | None, namespace: str | None) -> TaskStore | str | None:
    """What an actor can be given. A path would not do: the actor would look for its ledger in the namespace of whoever
    made the actor, which for a replica is one of Serve's."""
    store = open_store(place, namespace or default_namespace())
    if isinstance(store, LedgerStore):
        return store
    store.close()
    # A server, which the actor reaches by itself: the one given, or the one that COGNITIVE_TASKS names everywhere.
    return None if place is None else str(place)
