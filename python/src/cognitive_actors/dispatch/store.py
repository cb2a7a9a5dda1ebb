"""What a store of tasks does, wherever it is. Made by :func:`cognitive_actors.dispatch.open_store`.

Times are of one clock: the database server's, or, for SQLite, that of the machine the file is on. The clocks of
dispatchers do not matter. Where that clock jumps ahead, leases run out early, and where it jumps back, late: a task may
then be tried twice, or again later, and its result is recorded once in any case. Every method may be called again with
the same arguments after it was not answered, and has then changed nothing more.

Every method raises TasksUnavailable where the store cannot be reached just now, and TaskStoreError where it is damaged.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

from .content import check_tasks, check_text, encode
from .errors import TaskError
from .task import STATES, Claim, NewTask, Owner, Reaped, State, Task

#: Tasks that are claimed or looked up at once.
MOST = 10_000


class TaskStore(ABC):
    """Durable tasks: what was answered survives a crash of any process, and a power cut."""

    #: The place in words, without any password.
    where: str

    def enqueue(self, tasks: Iterable[NewTask], kinds: Collection[str] | None = None) -> list[str]:
        """Add tasks, all or none, and return the id of each.

        That is its own id, or, where there is a task of its key already, the id of that one, and nothing is added.
        kinds: those that are known; any, if left out. Raises TaskError for a task that cannot be added: a payload that
        is no JSON or larger than 1 MiB, an unknown kind, an unknown task to wait for, tasks that wait for each other.
        """
        checked = check_tasks(tasks, kinds)
        return self._add(checked) if checked else []

    def claim(
        self, owner: Owner, kinds: Collection[str], limit: int, lease_seconds: float, request: str | None = None
    ) -> list[Claim]:
        """Lease up to ``limit`` tasks that are due, largest priority first, then the one that has been due longest.

        Nobody else gets them until the lease ends. Each is one more attempt of its task. request: a name of this
        call; one that comes again gets what the first one got, as far as that is still held.
        """
        if isinstance(kinds, str) or not kinds:
            raise TaskError(f"kinds is {kinds!r}; write the kinds there are handlers for")
        if not 1 <= limit <= MOST:
            raise TaskError(f"limit is {limit!r}; write a whole number between 1 and {MOST}")
        _check_owner(owner)
        named = None if request is None else check_text(request, "request")
        return self._claim(owner, sorted(kinds), limit, _lease(lease_seconds), named)

    def take(self, task: str, owner: Owner, lease_seconds: float) -> Claim | None:
        """Lease one task by its id, as ``claim`` would, or None where it is not queued and due.

        An incarnation of an owner that asks again gets the claim that it has, and the lease begins anew.
        """
        _check_owner(owner)
        return self._take(check_text(task, "the id of a task"), owner, _lease(lease_seconds))

    def extend(self, claims: Collection[Claim], lease_seconds: float) -> list[str]:
        """Let leases end so many seconds from now. Returns the ids of those still held; the others are lost."""
        return self._extend([_bare(claim) for claim in claims], _lease(lease_seconds)) if claims else []

    def complete(self, results: Sequence[tuple[Claim, Any]]) -> list[str]:
        """Record results, JSON of 1 MiB at most, and return the ids of those that are recorded.

        The others had been claimed anew, or cancelled, and what their new claims bring counts. Raises TaskError for a
        result that cannot be recorded, and records none.
        """
        texts = [(_bare(claim), encode(result, f"the result of task {claim.id}")) for claim, result in results]
        return self._record(texts) if texts else []

    def fail(self, failures: Sequence[tuple[Claim, str]], *, hopeless: bool = False) -> dict[str, State]:
        """End attempts with errors: the tasks are queued again after a pause, or dead after their last attempt.

        hopeless: no other attempt would help, and this was the last. Returns the new state of each task that was still
        held, by id.
        """
        return self._fail([(_bare(claim), str(error)) for claim, error in failures], hopeless) if failures else {}

    def release(self, claims: Collection[Claim]) -> list[str]:
        """Give tasks back; the attempt does not count. Returns the ids of those that were held."""
        return self._release([_bare(claim) for claim in claims]) if claims else []

    @abstractmethod
    def abandon(self, owner: Owner) -> int:
        """End the attempts of earlier incarnations of an owner, which is known to have died. Returns how many."""

    @abstractmethod
    def reap(self) -> Reaped:
        """End attempts whose lease has run out: their tasks are queued again after a pause, or dead.

        What waits for a dead one is cancelled or goes on without it, as its ``on_failure`` says.
        """

    @abstractmethod
    def revive(self, ids: Collection[str]) -> list[str]:
        """Queue dead letters again, with all their attempts, and let what was cancelled because of them wait again.

        Returns the ids of those that were dead.
        """

    @abstractmethod
    def cancel(self, ids: Collection[str]) -> list[str]:
        """Cancel tasks that are not done or dead; results of those being worked on are not heard.

        Returns the ids of all of them that are cancelled now.
        """

    @abstractmethod
    def get(self, task: str) -> Task | None:
        """A task by its id, None where there is none."""

    @abstractmethod
    def result(self, task: str) -> Any:
        """The result of a task. Raises TaskError, with its state and error, where there is none."""

    def find(
        self,
        state: State | None = None,
        kind: str | None = None,
        graph: str | None = None,
        limit: int = 100,
        *,
        newest: bool = False,
    ) -> list[Task]:
        """Tasks, the oldest or the newest first, of a state, a kind and a graph; of all, where left out."""
        if state is not None and state not in STATES:
            raise TaskError(f"state is {state!r}; write one of {', '.join(STATES)}")
        if not 1 <= limit <= MOST:
            raise TaskError(f"limit is {limit!r}; write a whole number between 1 and {MOST}")
        return self._find(state, kind, graph, limit, newest)

    @abstractmethod
    def counts(self, kind: str | None = None) -> dict[State, int]:
        """How many tasks there are of each state, of a kind or of all."""

    @abstractmethod
    def results_of(self, graph: str) -> dict[str, Any]:
        """The results of a graph's nodes that are done, by node name."""

    @abstractmethod
    def forget(self, older_than: float, limit: int = 10_000) -> int:
        """Remove up to ``limit`` tasks that were done or cancelled so many seconds ago, and return how many.

        Dead letters stay, and so does what an unfinished task or graph may need. Keys of forgotten tasks are free.
        """

    @abstractmethod
    def lead(self, role: str, owner: str, seconds: float) -> bool:
        """Whether an owner has a role from now on for so many seconds. One owner at a time has it."""

    @abstractmethod
    def resign(self, role: str, owner: str) -> None:
        """Give a role up, if the owner has it."""

    @abstractmethod
    def close(self) -> None:
        """Close connections. What is stored stays."""

    @abstractmethod
    def _add(self, checked: list[tuple[NewTask, str]]) -> list[str]: ...

    @abstractmethod
    def _claim(
        self, owner: Owner, kinds: list[str], limit: int, seconds: float, request: str | None
    ) -> list[Claim]: ...

    @abstractmethod
    def _take(self, task: str, owner: Owner, seconds: float) -> Claim | None: ...

    @abstractmethod
    def _extend(self, claims: list[Claim], seconds: float) -> list[str]: ...

    @abstractmethod
    def _record(self, results: list[tuple[Claim, str]]) -> list[str]: ...

    @abstractmethod
    def _fail(self, failures: list[tuple[Claim, str]], hopeless: bool) -> dict[str, State]: ...

    @abstractmethod
    def _release(self, claims: list[Claim]) -> list[str]: ...

    @abstractmethod
    def _find(
        self, state: State | None, kind: str | None, graph: str | None, limit: int, newest: bool
    ) -> list[Task]: ...


def _bare(claim: Claim) -> Claim:
    """A claim without what the store knows."""
    return replace(claim, payload=None, results={})


def _check_owner(owner: Owner) -> None:
    for label, text in (("name of the owner", owner.name), ("incarnation of the owner", owner.incarnation)):
        check_text(text, label)


def _lease(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise TaskError(f"the lease is {seconds!r} s; write a finite number, more than 0")
    return seconds
