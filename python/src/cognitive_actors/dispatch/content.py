"""What tasks may hold: JSON of a limited size, and texts that every database can store."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from typing import Any

from .cycles import find_cycle
from .errors import TaskError
from .task import ON_FAILURE, NewTask, Retries

#: Bytes of a payload or a result.
LARGEST = 1024 * 1024
#: Characters of an error that are kept.
_ERROR = 8000
_TEXT = 200
#: Ten years: a longer delay is a mistake in the unit.
_LONGEST_DELAY = 10 * 365 * 86400.0


def encode(value: Any, label: str) -> str:
    """A value as JSON. Raises TaskError, naming ``label``, for what would not come back the same, or is too large."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(f"{label} is no JSON ({error}); write text, finite numbers, lists and dicts") from None
    if len(text) > LARGEST:
        raise TaskError(
            f"{label} takes {len(text)} bytes as JSON, of {LARGEST} at most; write it to a file, and give its path"
        )
    if not _same(json.loads(text), value):
        raise TaskError(
            f"{label} would come back changed from JSON; write lists for tuples, and text for keys of dicts"
        )
    return text


def check_text(text: Any, label: str) -> str:
    """A name of 1 to 200 printable characters. Raises TaskError for anything else."""
    if not isinstance(text, str) or not 0 < len(text) <= _TEXT or not text.isprintable():
        shown = repr(text) if len(repr(text)) <= 2 * _TEXT else f"{repr(text)[:_TEXT]}…"
        raise TaskError(f"{label} is {shown}; write a text of 1 to {_TEXT} printable characters")
    return text


def printable_error(error: object) -> str:
    """An error as text that can be stored, its middle left out where it is long."""
    text = str(error).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    return text if len(text) <= _ERROR else f"{text[: _ERROR // 2]} … {text[-_ERROR // 2 :]}"


def check_tasks(tasks: Iterable[NewTask], kinds: Collection[str] | None) -> list[tuple[NewTask, str]]:
    """Tasks with their payloads as JSON. kinds: those that are known, None where any will do.

    Raises TaskError for the first task that cannot be enqueued.
    """
    checked = []
    for position, task in enumerate(tasks):
        if not isinstance(task, NewTask):
            raise TaskError(f"task {position} is {type(task).__name__}; write NewTask(kind, payload)")
        checked.append((task, _check_task(task, f"task {position}", kinds)))
    ids = [task.id for task, _ in checked]
    if len(set(ids)) < len(ids):
        twice = next(i for i in ids if ids.count(i) > 1)
        raise TaskError(f"id {twice!r} is that of two tasks; leave ids out, and each gets its own")
    cycle = find_cycle({task.id: task.after for task, _ in checked})
    if cycle:
        raise TaskError(f"tasks wait for each other: {' after '.join(cycle)}; take one of these out of `after`")
    return checked


def _check_task(task: NewTask, label: str, kinds: Collection[str] | None) -> str:
    kind = check_text(task.kind, f"the kind of {label}")
    label = f"{label} ({kind})"
    if kinds is not None and kind not in kinds:
        raise TaskError(f"{label}: no handler is known of this kind; write one of {', '.join(sorted(kinds)) or 'none'}")
    for name in ("key", "graph", "node"):
        if getattr(task, name) is not None:
            check_text(getattr(task, name), f"{name} of {label}")
    check_text(task.id, f"id of {label}")
    if isinstance(task.priority, bool) or not isinstance(task.priority, int) or abs(task.priority) >= 2**31:
        raise TaskError(f"{label}: priority is {task.priority!r}; write a whole number")
    if not isinstance(task.delay, int | float) or not math.isfinite(task.delay) or not 0 <= task.delay < _LONGEST_DELAY:
        raise TaskError(f"{label}: delay is {task.delay!r}; write seconds, 0 or more and less than ten years")
    if not isinstance(task.retries, Retries):
        raise TaskError(f"{label}: retries is {task.retries!r}; write Retries(attempts=...)")
    if task.on_failure not in ON_FAILURE:
        raise TaskError(f"{label}: on_failure is {task.on_failure!r}; write one of {', '.join(ON_FAILURE)}")
    if isinstance(task.after, str):
        raise TaskError(f"{label}: after is a text; write a tuple of ids")
    for needed in task.after:
        check_text(needed, f"an id in `after` of {label}")
    return encode(task.payload, f"the payload of {label}")


def _same(read: Any, given: Any) -> bool:
    try:
        return bool(read == given)
    except ValueError:
        # An array among them compares element by element.
        return False
