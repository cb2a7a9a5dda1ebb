"""Tasks in an SQLite file, for all nodes of a cluster: one actor has the file, and the others ask it."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError

from ..cluster import get_ray_namespace
from .database import in_words, is_server, sqlite_path
from .errors import TaskStoreError, TasksUnavailable
from .sql_store import SqlTaskStore
from .store import TaskStore
from .task import Claim, NewTask, Owner, Reaped, State, Task

#: The environment variable that names the place of tasks where none is given.
TASKS = "COGNITIVE_TASKS"
#: The name of the ledger's actor, unless given.
LEDGER = "cognitive-tasks"
#: Seconds to wait for an answer of the ledger. It may have to be started again in that time.
ANSWER = 120.0


@ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
class TaskLedger:
    """The one process that has an SQLite file of tasks. Started by :func:`open_store`.

    path and synchronous: as of :class:`cognitive_actors.dispatch.sql_store.SqlTaskStore`. Ray repeats a call whose
    answer was lost with the process; every change is one that can be repeated.
    """

    def __init__(self, path: str, synchronous: str = "FULL") -> None:
        self._place = path, synchronous
        self._store: SqlTaskStore | None = None

    def place(self) -> str:
        """The path of the file."""
        return self._place[0]

    def check(self) -> None:
        """Raise what is wrong with the file."""
        self._open()

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the store returns."""
        return getattr(self._open(), method)(*arguments)

    def _open(self) -> SqlTaskStore:
        # Not in the constructor: an actor that fails there is gone, and a disk that is full now may have room later.
        if self._store is None:
            self._store = SqlTaskStore(*self._place)
        return self._store


class LedgerStore(TaskStore):
    """The tasks of a ledger, from any process of its cluster. It can be given to other actors."""

    def __init__(self, path: str, namespace: str, name: str, answer: float = ANSWER) -> None:
        """path: of the SQLite file; namespace and name: of the ledger's actor; answer: seconds to wait for it."""
        self.where, self._namespace, self._name, self._answer = path, namespace, name, answer
        self._actor: Any = None

    @property
    def ledger(self) -> Any:
        """The actor that has the file; one that was ended is started again.

        Raises TaskStoreError where the one of this name has another file, TasksUnavailable where it does not answer.
        """
        if self._actor is None:
            actor = _started(self.where, self._namespace, self._name)
            place = _answer(actor.place.remote(), self.where, self._answer)
            if place != self.where:
                raise TaskStoreError(
                    f"the ledger {self._name!r} keeps its tasks in {place}, not in {self.where}; write that path, or"
                    " another name for this"
                )
            self._actor = actor
        return self._actor

    def check(self) -> None:
        """Raise what is wrong with the file: TaskStoreError where it is damaged or something else."""
        try:
            _answer(self.ledger.check.remote(), self.where, self._answer)
        except TaskStoreError:
            # It is of no use, and would keep its name from the next.
            if self._actor is not None:
                ray.kill(self._actor)
            raise

    def abandon(self, owner: Owner) -> int:
        return cast("int", self._ask("abandon", owner))

    def reap(self) -> Reaped:
        return cast("Reaped", self._ask("reap"))

    def revive(self, ids: Collection[str]) -> list[str]:
        return cast("list[str]", self._ask("revive", list(ids)))

    def cancel(self, ids: Collection[str]) -> list[str]:
        return cast("list[str]", self._ask("cancel", list(ids)))

    def get(self, task: str) -> Task | None:
        return cast("Task | None", self._ask("get", task))

    def result(self, task: str) -> Any:
        return self._ask("result", task)

    def counts(self, kind: str | None = None) -> dict[State, int]:
        return cast("dict[State, int]", self._ask("counts", kind))

    def results_of(self, graph: str) -> dict[str, Any]:
        return cast("dict[str, Any]", self._ask("results_of", graph))

    def forget(self, older_than: float, limit: int = 10_000) -> int:
        return cast("int", self._ask("forget", older_than, limit))

    def lead(self, role: str, owner: str, seconds: float) -> bool:
        return cast("bool", self._ask("lead", role, owner, seconds))

    def resign(self, role: str, owner: str) -> None:
        self._ask("resign", role, owner)

    def close(self) -> None:
        """Nothing: the ledger stays for the others."""

    def _add(self, checked: list[tuple[NewTask, str]]) -> list[str]:
        return cast("list[str]", self._ask("_add", checked))

    def _claim(self, owner: Owner, kinds: list[str], limit: int, seconds: float, request: str | None) -> list[Claim]:
        return cast("list[Claim]", self._ask("_claim", owner, kinds, limit, seconds, request))

    def _take(self, task: str, owner: Owner, seconds: float) -> Claim | None:
        return cast("Claim | None", self._ask("_take", task, owner, seconds))

    def _extend(self, claims: list[Claim], seconds: float) -> list[str]:
        return cast("list[str]", self._ask("_extend", claims, seconds))

    def _record(self, results: list[tuple[Claim, str]]) -> list[str]:
        return cast("list[str]", self._ask("_record", results))

    def _fail(self, failures: list[tuple[Claim, str]], hopeless: bool) -> dict[str, State]:
        return cast("dict[str, State]", self._ask("_fail", failures, hopeless))

    def _release(self, claims: list[Claim]) -> list[str]:
        return cast("list[str]", self._ask("_release", claims))

    def _find(self, state: State | None, kind: str | None, graph: str | None, limit: int, newest: bool) -> list[Task]:
        return cast("list[Task]", self._ask("_find", state, kind, graph, limit, newest))

    def _ask(self, method: str, *arguments: Any) -> Any:
        ledger = self.ledger
        try:
            return _answer(ledger.call.remote(method, *arguments), self.where, self._answer)
        except TasksUnavailable:
            # Perhaps it was ended, and another one is to be found under its name.
            self._actor = None
            raise


def open_store(place: str | Path | None = None, namespace: str | None = None, name: str = LEDGER) -> TaskStore:
    """The tasks at a place.

    place: ``postgresql://USER@HOST/DATABASE``, which every node must reach, its password in the URL or, better, in the
    file that COGNITIVE_TASKS_PASSWORD_FILE names; or the path of an SQLite file. Where this process is connected to
    Ray, that file is on the head node and belongs to the ledger ``name`` in ``namespace`` (that of the connection, if
    left out), which is started if it is not there; else the file is one of this machine. None for the place that
    COGNITIVE_TASKS names, or else that of the ledger that is there.

    Raises ValueError for a place that is none, TaskStoreError for one that is damaged, of another version, or not that
    of the ledger of this name, and TasksUnavailable where it cannot be reached.
    """
    place = place or os.environ.get(TASKS) or None
    if place is not None and (is_server(place) or not ray.is_initialized()):
        return SqlTaskStore(place)
    if not ray.is_initialized():
        raise ValueError(f"no place of tasks is named; write a path or postgresql://..., or set {TASKS}")
    namespace = namespace or get_ray_namespace()
    if place is None:
        return _found(namespace, name)
    store = LedgerStore(sqlite_path(place), namespace, name)
    store.check()
    return store


def where_of(tasks: TaskStore | str | Path | None) -> str | None:
    """Where a store is, or that of a place, in words without any password; as :attr:`TaskStore.where` says it.

    None where no place is named: it will be that of the ledger that is there. Raises ValueError for one that is none.
    """
    if isinstance(tasks, TaskStore):
        return tasks.where
    place = tasks or os.environ.get(TASKS) or None
    return None if place is None else in_words(place)


def _found(namespace: str, name: str) -> TaskStore:
    try:
        actor = ray.get_actor(name, namespace=namespace)
    except ValueError:
        raise ValueError(
            f"no place of tasks is named, and there is no ledger {name!r} in namespace {namespace!r}; write a path or"
            f" postgresql://..., or set {TASKS}"
        ) from None
    return LedgerStore(_answer(actor.place.remote(), f"the ledger {name!r}", ANSWER), namespace, name)


def _started(path: str, namespace: str, name: str) -> Any:
    """The ledger of a name. It is started where there is none."""
    try:
        return TaskLedger.options(  # type: ignore[attr-defined]
            name=name,
            namespace=namespace,
            lifetime="detached",
            get_if_exists=True,
            resources={"node:__internal_head__": 0.001},
        ).remote(path)
    except (RayError, OSError, RuntimeError) as error:
        raise TasksUnavailable(
            f"{path}: its ledger cannot be started: {error}; check that the head node is up"
        ) from None


def _answer(reference: Any, where: str, seconds: float) -> Any:
    """What the ledger returns, and its errors as they were raised there."""
    try:
        return ray.get(reference, timeout=seconds)
    except GetTimeoutError:
        raise TasksUnavailable(
            f"{where}: its ledger did not answer within {seconds:g} s; check that the head node is up"
        ) from None
    except RayActorError as error:
        raise TasksUnavailable(f"{where}: its ledger has ended: {error}; try again") from None
    except RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, ValueError | TaskStoreError | TasksUnavailable):
            raise cause from None
        raise TasksUnavailable(f"{where}: its ledger did not answer: {error}; try again") from None
