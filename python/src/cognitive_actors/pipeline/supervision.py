"""Actors of the pipeline: waited for with a deadline, and told apart when they fail."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import (
    GetTimeoutError,
    LocalRayletDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)

from ..cluster import ClusterError

#: Seconds an actor may wait for a free CPU or GPU before the work is given up.
START_DEADLINE = 120.0

_LOSSES = (RayActorError, WorkerCrashedError, NodeDiedError, ObjectLostError, OutOfMemoryError, LocalRayletDiedError)


class ActorLost(RuntimeError):
    """An actor died, or its node did; the state of its agents is gone."""


def await_ready(actors: Sequence[Any], deadline: float = START_DEADLINE) -> None:
    """Wait until every actor can work; if one cannot, all are ended.

    Raises ClusterError if they find no room within ``deadline`` seconds or cannot be made, ActorLost if one dies.
    """
    try:
        ray.get([actor.ready.remote() for actor in actors], timeout=deadline)
    except GetTimeoutError:
        free = {name: ray.available_resources().get(name, 0) for name in ("CPU", "GPU")}
        stop(actors)
        raise ClusterError(
            f"{len(actors)} actors found no room within {deadline:g} s ({free['CPU']:g} CPUs and {free['GPU']:g} GPUs"
            " are free); free some, or ask for fewer with --shards"
        ) from None
    except RayActorError as error:
        stop(actors)
        if error.actor_init_failed:
            raise ClusterError(f"an actor cannot start: {str(error).strip().splitlines()[-1]}") from error
        raise ActorLost(str(error)) from error


def results(references: Sequence[Any]) -> list[Any]:
    """What actors return. Raises ActorLost if one died, and an error raised in an actor as it was raised there."""
    try:
        values: list[Any] = ray.get(list(references))
    except _LOSSES as error:
        raise ActorLost(str(error)) from error
    except RayError as error:
        cause = getattr(error, "cause", None)
        raise (cause if isinstance(cause, Exception) else error) from None
    return values


def stop(actors: Sequence[Any]) -> None:
    """End actors, also those that are dead already."""
    for actor in actors:
        with suppress(RayError):
            ray.kill(actor)
