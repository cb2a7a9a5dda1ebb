"""One task from end to end: into the store, to a dispatcher, and its result out of the store."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from ..core.model import GenerativeModel
from ..dispatch import NewTask, Retries, TaskError, TaskStore
from ..dispatch.task import FINAL
from .waiting import NotUp, Watch, until

#: Before what waits in the queue. A choice.
_PRIORITY = 1_000_000
#: A dispatcher may be lost meanwhile, and an actor away.
_RETRIES = Retries(attempts=3, first=0.2, most=1.0)


def stimulus(model: GenerativeModel) -> dict[str, Any]:
    """A stimulus that fits a model, of an agent that nobody else has."""
    modality = model.modalities[0]
    return {"agent": f"bootstrap {secrets.token_hex(4)}", "observation": {modality.name: modality.outcomes[0]}}


def tried(
    tasks: TaskStore, kind: str, payload: Mapping[str, Any] | None, seconds: float, watch: Watch
) -> dict[str, Any]:
    """``id``, ``kind``, ``seconds`` from the enqueueing to the result, ``by`` whom it was done, and ``result``.

    Raises NotUp where it has no result within so many seconds; it is cancelled then.
    """
    began = time.monotonic()
    (task,) = tasks.enqueue(
        [NewTask(kind, payload, key=f"bootstrap:{secrets.token_hex(8)}", priority=_PRIORITY, retries=_RETRIES)]
    )

    def ended() -> bool:
        found = tasks.get(task)
        return found is None or found.state in FINAL

    try:
        if not until(ended, seconds, watch):
            raise NotUp(_late(tasks, task, kind, seconds))
    except BaseException:
        tasks.cancel([task])
        raise
    found = tasks.get(task)
    try:
        result = tasks.result(task)
    except TaskError as error:
        raise NotUp(f"the task of kind {kind!r} did not succeed: {error}; see the dispatchers' logs") from None
    by = found.owner.name if found is not None and found.owner is not None else None
    return {"id": task, "kind": kind, "seconds": round(time.monotonic() - began, 3), "by": by, "result": result}


def _late(tasks: TaskStore, task: str, kind: str, seconds: float) -> str:
    found = tasks.get(task)
    state = "gone" if found is None else found.state
    last = "" if found is None or found.error is None else f", after {found.error}"
    who = "nobody claimed it" if found is None or found.owner is None else f"{found.owner.name} had it last"
    return (
        f"the task {task} of kind {kind!r} was not done within {seconds:g} s: it was {state}{last}, and {who};"
        " the dispatchers may be at longer tasks: see their status() and their logs"
    )
