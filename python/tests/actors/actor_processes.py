"""Actors as tests start them, look into them and kill them, in a process of their own or in this one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import ray
from ray import cloudpickle
from waiting import until

from cognitive_actors.files.store import StoreUnavailable

# The actors' processes get the functions below, and do not know this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class FaultyStore:
    """A store that fails at its next save: ``when`` and ``how``."""

    def __init__(self, store: Any, when: str, how: str) -> None:
        self.store, self.when, self.how, self.done = store, when, how, False
        self.where, self.load = store.where, store.load

    def save(self, *arguments: Any, **options: Any) -> Any:
        if self.done:
            return self.store.save(*arguments, **options)
        self.done = True
        if self.when == "after":
            self.store.save(*arguments, **options)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise StoreUnavailable("the store did not answer")


class Here:
    """An actor's object in this process, called as one in a process of its own: quick, and it cannot be killed."""

    def __init__(self, kind: Any, *arguments: Any, **options: Any) -> None:
        self.object = kind.__ray_metadata__.modified_class(*arguments, **options)

    def __getattr__(self, method: str) -> Any:
        return SimpleNamespace(remote=getattr(self.object, method))


def answer(reference: Any) -> Any:
    """What a call returns, in time."""
    return ray.get(reference, timeout=180) if isinstance(reference, ray.ObjectRef) else reference


def heard(listener: Any, count: int) -> list[Any]:
    """What a listener has heard, once it is that much: who speaks does not wait for it."""

    def found() -> list[Any] | None:
        heard: list[Any] = answer(listener.all.remote())
        return heard if len(heard) >= count else None

    return until(found, f"{count} events")


def inside(actor: Any, function: Callable[[Any], Any]) -> Any:
    """What a function of the actor's object returns in the actor's process."""
    return function(actor.object) if isinstance(actor, Here) else answer(actor.__ray_call__.remote(function))


def fail_once(actor: Any, when: str, how: str) -> None:
    """The actor's next save fails. A process that starts in its place has a store that works."""

    def put_in(self: Any) -> None:
        self._continuity.store = FaultyStore(self._continuity.store, when, how)

    inside(actor, put_in)


def process_of(actor: Any) -> int:
    """The number of the process an actor lives in."""
    number: int = inside(actor, lambda self: os.getpid())
    return number


def kill(actor: Any) -> None:
    """kill -9 the process of an actor, and wait until it has been started again."""
    pid = process_of(actor)
    os.kill(pid, signal.SIGKILL)
    assert process_of(actor) != pid


def state_of(actor: Any) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = inside(actor, lambda self: self._snapshot())
    return arrays


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Equal to the bit."""
    assert one.keys() == other.keys()
    for name, x in one.items():
        assert (x.dtype, x.shape, x.tobytes()) == (other[name].dtype, other[name].shape, other[name].tobytes()), name


def there(kind: Any, *arguments: Any, **options: Any) -> Any:
    """An actor in a process of its own, that Ray starts again."""
    return kind.options(max_restarts=-1, max_task_retries=-1).remote(*arguments, **options)
