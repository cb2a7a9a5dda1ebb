"""Bootstraps whose actors nobody else has, and what lives after them."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.util import list_named_actors

from cognitive_actors.bootstrap.run import Names, Request, bootstrap
from cognitive_actors.cluster.settings import default_namespace

#: Where the actors' processes find the handlers of tests.
SURROUNDINGS = {
    "env_vars": {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
}
#: Enough for a machine that does other things beside.
SECONDS = 180.0


@contextmanager
def requested(directory: Path, **options: Any) -> Iterator[Request]:
    """A request with names of its own. What lives under them is ended in the end."""
    mark = uuid.uuid4().hex[:12]
    names = Names(*(f"{kind}-{mark}" for kind in ("dispatcher", "reaper", "ledger", "state", "streams", "routes")))
    settings: dict[str, Any] = {"tasks": str(directory / "tasks.db"), "actor": f"agents-{mark}", "timeout": SECONDS}
    try:
        yield Request(names=names, **{**settings, **options})
    finally:
        end_all(lambda: living(mark), default_namespace())


def end_all(names: Callable[[], Iterable[str]], namespace: str) -> None:
    """End the actors of these names, and those that others begin again meanwhile, until there is none."""
    end = time.monotonic() + SECONDS
    while found := list(names()):
        assert time.monotonic() < end, found
        for name in found:
            with suppress(ValueError):
                ray.kill(ray.get_actor(name, namespace))
        time.sleep(0.5)


def living(mark: str, namespace: str | None = None) -> dict[str, str]:
    """The ids of the actors with a mark in their names, by name."""
    where = namespace or default_namespace()
    there = [each["name"] for each in list_named_actors(all_namespaces=True) if each["namespace"] == where]
    found = {}
    for name in sorted(name for name in there if mark in name):
        # It may have ended since it was listed.
        with suppress(ValueError):
            found[name] = ray.get_actor(name, where)._actor_id.hex()
    return found


def of(request: Request) -> dict[str, str]:
    """The ids of the actors of a request, by name."""
    return living(request.actor.removeprefix("agents-"))


def actor(name: str) -> Any:
    """The actor of a name."""
    return ray.get_actor(name, default_namespace())


def done(request: Request, watch: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """What a bootstrap reports."""
    return bootstrap(request, watch)


def actions(report: dict[str, Any]) -> dict[str, str]:
    """What became of each actor, by name."""
    return {each["name"]: each["action"] for each in report["reconciled"]}


def whys(report: dict[str, Any]) -> dict[str, str]:
    """Why, of those of whom it is said."""
    return {each["name"]: each["why"] for each in report["reconciled"] if "why" in each}


def answer(reference: Any) -> Any:
    """What a call returns."""
    return ray.get(reference, timeout=SECONDS)


def process_of(found: Any) -> int:
    """The number of the process that an actor lives in."""
    number: int = answer(found.__ray_call__.remote(lambda self: os.getpid()))
    return number
