"""Durable tasks: a store of them, dispatchers that work through it, graphs of tasks, and what ends lost leases."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import TaskError, TaskHopeless, TaskStoreError, TasksUnavailable
from .task import Claim, NewTask, Owner, Reaped, Retries, Task, pause

if TYPE_CHECKING:
    from .dispatcher import QueueDispatcher
    from .graph import GraphState, Node, NodeState, enqueue_graph, graph_state
    from .ledger import LedgerStore, TaskLedger, open_store
    from .reaper import Reaper
    from .sql_store import SqlTaskStore
    from .store import TaskStore

# Loaded when they are first used: what a task is can be read without Ray and without SQLAlchemy.
_PLACES = {
    "GraphState": "graph",
    "LedgerStore": "ledger",
    "Node": "graph",
    "NodeState": "graph",
    "QueueDispatcher": "dispatcher",
    "Reaper": "reaper",
    "SqlTaskStore": "sql_store",
    "TaskLedger": "ledger",
    "TaskStore": "store",
    "enqueue_graph": "graph",
    "graph_state": "graph",
    "open_store": "ledger",
}

__all__ = [
    "Claim",
    "GraphState",
    "LedgerStore",
    "NewTask",
    "Node",
    "NodeState",
    "Owner",
    "QueueDispatcher",
    "Reaped",
    "Reaper",
    "Retries",
    "SqlTaskStore",
    "Task",
    "TaskError",
    "TaskHopeless",
    "TaskLedger",
    "TaskStore",
    "TaskStoreError",
    "TasksUnavailable",
    "enqueue_graph",
    "graph_state",
    "open_store",
    "pause",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f".{_PLACES[name]}", __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "sqlalchemy":
            raise
        raise ImportError(f"{name} needs SQLAlchemy; install cognitive-actors[dispatch]") from None
