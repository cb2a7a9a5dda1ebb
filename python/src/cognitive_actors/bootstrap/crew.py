"""The dispatchers and the reaper of one store of tasks: looked at, stopped, ended and started."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import ActorDiedError
from ray.util import list_named_actors

from ..cluster.settings import default_namespace
from ..dispatch import TaskStore
from ..serve.dispatchers import dispatcher, names, reaper_of
from .reconcile import Living, Step, Wanted, steps
from .waiting import POLL_SECONDS, NotUp, Watch, answers, named, never_starts, reason, until

#: Seconds in which a dispatcher that is to go may end what it has begun, at most; the rest is given back. A choice.
STOP_SECONDS = 10.0
DISPATCHER, REAPER = "dispatcher", "reaper"


@dataclass(frozen=True)
class Crew:
    """Who is to work on the tasks of a store.

    tasks: the store; given: what actors get for it, the store or its place, None for the one that COGNITIVE_TASKS names
    everywhere; handlers: as of QueueDispatcher; dispatchers: how many; name: of each, before its number; reaper: its
    name; forget: as of Reaper, None where anything will do.
    """

    tasks: TaskStore
    given: TaskStore | str | None
    handlers: Mapping[str, str]
    dispatchers: int
    name: str
    reaper: str
    forget: float | None = None

    def wanted(self) -> list[Wanted]:
        """The actors that are to live."""
        place = {"tasks": self.tasks.where}
        made = {**place, "handlers": dict(self.handlers)}
        dispatchers = [Wanted(DISPATCHER, name, made) for name in names(self.dispatchers, self.name)]
        forget = {} if self.forget is None else {"forget": self.forget}
        return [*dispatchers, Wanted(REAPER, self.reaper, place | forget)]

    def handles(self) -> dict[str, Any]:
        """Those that live by the names of wanted ones, and dispatchers of higher numbers."""
        namespace = default_namespace()
        pattern = re.compile(rf"{re.escape(self.name)}-\d+")
        there = {each["name"] for each in list_named_actors(all_namespaces=True) if each["namespace"] == namespace}
        known = {name for name in there if pattern.fullmatch(name)} | {each.name for each in self.wanted()}
        return named(namespace, sorted(known & there))

    def kind(self, name: str) -> str:
        """What an actor of a name is."""
        return REAPER if name == self.reaper else DISPATCHER

    def make(self, name: str) -> Any:
        """The actor of a name, made where there is none. It outlives whoever makes it."""
        if self.kind(name) == REAPER:
            return reaper_of(name, self.given, self.forget)
        return dispatcher(name, self.given, self.handlers)


def reconciled(crew: Crew, seconds: float, watch: Watch, done: list[Step]) -> None:
    """Bring what lives to what is wanted, and say in ``done`` what became of each, once it is so.

    seconds: that an actor is given to answer, to stop and to come up. Another that does the same at the same time does
    no harm: an actor is ended only if it is the one that was looked at, and made only where there is none of its name.
    Raises NotUp for one that does not come up.
    """
    handles = crew.handles()
    living = _living(crew, handles, seconds, watch)
    todo = steps(crew.wanted(), living)
    done.extend(step for step in todo if step.action == "kept")
    leaving = {step.name: handles[step.name] for step in todo if step.action in ("replaced", "ended")}
    silent = {each.name for each in living if each.made is None}
    _stop({name: actor for name, actor in leaving.items() if name not in silent}, seconds, watch)
    _stop({name: actor for name, actor in leaving.items() if name in silent}, STOP_SECONDS, watch)
    _end(leaving, seconds, watch)
    done.extend(step for step in todo if step.action == "ended")
    _start(crew, [step for step in todo if step.action in ("started", "replaced")], seconds, watch, done)


def _living(crew: Crew, handles: Mapping[str, Any], seconds: float, watch: Watch) -> list[Living]:
    found = answers({name: actor.status.remote() for name, actor in handles.items()}, seconds, watch)
    living = []
    for name, status in found.items():
        if isinstance(status, ActorDiedError):
            continue  # It has ended meanwhile.
        if isinstance(status, Exception):
            living.append(Living(crew.kind(name), name, None))
        else:
            living.append(Living(crew.kind(name), name, status.get("made", {}), bool(status.get("stopping"))))
    return living


def _stop(leaving: Mapping[str, Any], seconds: float, watch: Watch) -> None:
    """Tell actors to stop, which gives back what they hold, and wait for it."""
    stop_seconds = min(STOP_SECONDS, seconds / 2)
    answers({name: actor.stop.remote(stop_seconds) for name, actor in leaving.items()}, seconds, watch)


def _end(leaving: Mapping[str, Any], seconds: float, watch: Watch) -> None:
    """End actors that were told to stop. What one holds all the same, because it did not answer or its store is away,
    is given to others when its lease runs out, or at once by the next one of its name."""
    for actor in leaving.values():
        ray.kill(actor)
    namespace = default_namespace()

    def gone() -> bool:
        there = named(namespace, leaving)
        return not any(there.get(name) == actor for name, actor in leaving.items())

    if not until(gone, seconds, watch):
        raise NotUp(f"{', '.join(leaving)} did not end within {seconds:g} s; see `cognitive status` and the dashboard")


def _start(crew: Crew, coming: list[Step], seconds: float, watch: Watch, done: list[Step]) -> None:
    end = time.monotonic() + seconds
    while coming:
        calls = {step: crew.make(step.name).ready.remote() for step in coming}
        found = answers(calls, max(0.0, end - time.monotonic()), watch)
        done.extend(step for step in coming if found[step] is None)
        coming = [step for step in coming if found[step] is not None]
        # One that was just ended may still have had the name: its next one is asked for again.
        if coming and (time.monotonic() > end or any(never_starts(found[step]) for step in coming)):
            missing = ", ".join(step.name for step in coming)
            raise NotUp(
                f"{missing} did not come up within {seconds:g} s: {reason(found[coming[0]])}; the cluster may have no"
                " room, or its nodes not this package: see `cognitive status` and the actors' logs in the dashboard"
            )
        if coming:
            time.sleep(POLL_SECONDS)
