"""The functions that do the work, by the names they are given under: ``module:function``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import reduce
from importlib import import_module
from typing import Any

from .content import check_text
from .task import Claim

#: What a handler gets, and what it returns: the result, JSON of 1 MiB at most. What it raises is the task's error.
Handler = Callable[[Claim], Any]


def load_handlers(names: Mapping[str, str]) -> dict[str, Handler]:
    """The function for each kind of task. Raises ValueError, naming the kind, for what is none."""
    if not isinstance(names, Mapping) or not names:
        raise ValueError(f"handlers is {names!r}; write {{kind: 'module:function'}}, at least one")
    return {check_text(kind, "a kind of handlers"): _load(kind, name) for kind, name in names.items()}


def _load(kind: str, name: str) -> Handler:
    module, mark, path = name.partition(":") if isinstance(name, str) else ("", "", "")
    if not (mark and module and path):
        raise ValueError(f"the handler of {kind!r} is {name!r}; write 'module:function'")
    try:
        found = reduce(getattr, path.split("."), import_module(module))
    except Exception as error:
        raise ValueError(
            f"the handler of {kind!r}, {name!r}, cannot be imported: {type(error).__name__}: {error}; write the name of"
            " a function in a module that is installed on every node"
        ) from error
    if not callable(found) or inspect.iscoroutinefunction(found):
        raise ValueError(f"the handler of {kind!r}, {name!r}, is {found!r}; write a function that is not async")
    handler: Handler = found
    return handler
