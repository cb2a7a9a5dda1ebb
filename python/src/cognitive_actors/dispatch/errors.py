"""What can be wrong with tasks and with what keeps them, in words that say what to do about it."""

from __future__ import annotations


class TaskError(ValueError):
    """A task, a graph of tasks or an answer that cannot be taken as it is. Nothing was changed."""


class TaskStoreError(RuntimeError):
    """What should hold tasks holds something else, is damaged, or is of another version. It was left as it is."""


class TasksUnavailable(RuntimeError):
    """The store cannot be reached just now. A change may have been made all the same: repeating it is harmless."""


class TaskHopeless(Exception):
    """Raised by a handler for a task that would fail each time: a dead letter at once, whatever attempts are left."""
