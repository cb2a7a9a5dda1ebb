"""What ``/pipeline`` takes and gives, and how that follows from what the store has of a task."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from ..core.model import GenerativeModel
from ..dispatch import Node, Retries, Task
from ..dispatch.task import State
from .effort import CYCLES, FORESEE, REFLECT
from .numbers import Whole
from .organism import Agent
from .stimulus import Cycle, Stimulus, stimulus_of

Route = Literal["fast", "planned", "escalated"]
Progress = Literal["queued", "running", "done", "failed", "cancelled"]
#: Of a client's task, by that of its cycle in the store.
PROGRESS: dict[State, Progress] = {
    "waiting": "queued",
    "queued": "queued",
    "leased": "running",
    "done": "done",
    "dead": "failed",
    "cancelled": "cancelled",
}
#: Priorities that a client may give, and what an escalated task has beside them. Choices.
LARGEST_PRIORITY, ESCALATED = 1000, 10_000
#: The nodes of a task's graph. Every task has the second.
FORESIGHT_NODE, CYCLE_NODE, REFLECTION_NODE = "foresee", "execute", "reflect"


def _reachable(id: str) -> str:
    if id in _STEPS or any(c < " " or c == "\x7f" for c in id):
        raise ValueError("write an id that can stand in an address: no control character, and neither . nor ..")
    return id


_STEPS = (".", "..")
_ID = {
    "type": "string",
    "minLength": 1,
    "maxLength": 200,
    "pattern": r"^[^\u0000-\u001f\u007f]+$",
    "not": {"enum": list(_STEPS)},
}
Id = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_reachable), WithJsonSchema(_ID)]


class NewTask(BaseModel):
    """A stimulus under an id of the client's. ``priority``: larger ones are worked on first, among those that wait."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Id
    stimulus: Stimulus
    priority: Whole = Field(0, ge=-LARGEST_PRIORITY, le=LARGEST_PRIORITY)

    def record(self) -> dict[str, Any]:
        """The stimulus as a record of a JSONL file."""
        return self.stimulus.model_dump(exclude_none=True)

    def fingerprint(self) -> str:
        """Of the content: the same for what asks for the same."""
        content = json.dumps({"stimulus": self.record(), "priority": self.priority}, sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def new_task_of(model: GenerativeModel) -> type[NewTask]:
    """A task as this model takes it, for its OpenAPI."""
    return create_model("NewTask", __base__=NewTask, __doc__=NewTask.__doc__, stimulus=(stimulus_of(model), ...))


class Foresight(Cycle):
    """What an escalated task's cycle would come to, looked at before. ``surprise``: in nats."""

    surprise: float | None


class Reflection(BaseModel):
    """What an escalated task's cycle has changed. ``surprise``: nats that the same observation would bring if it came
    again, null for what is impossible; ``share``: of full surprise; ``resolved``: it would not stay escalated."""

    surprise: float | None
    share: float
    resolved: bool
    agent: Agent | None


class Progressing(BaseModel):
    """Where a task is. ``surprise``: in nats when it was routed, null for what was impossible; ``share``: of full
    surprise, 0 to 1; ``state``: of its cycle; ``attempts``: at that; ``error``: of the last attempt, or why the task
    was cancelled; ``created``, ``finished``: seconds since 1970."""

    id: str
    route: Route
    surprise: float | None
    share: float
    priority: int
    state: Progress
    attempts: int
    error: str | None
    created: float
    finished: float | None


class PipelineTask(Progressing):
    """A task with what has come of it. ``steps``: states of its parts, for an escalated task ``foresee``, ``execute``
    and ``reflect``; a step that failed does not keep the cycle from what it does."""

    steps: dict[str, Progress]
    result: Cycle | None
    foresight: Foresight | None
    reflection: Reflection | None


class PipelineTasks(BaseModel):
    """Tasks without what has come of them, the newest first."""

    tasks: list[Progressing]


def graph_of(task: str) -> str:
    """The key of a task's graph: any text may be an id."""
    digest = hashlib.blake2b(task.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"pipeline-{digest}"


def nodes_of(route: str, payload: Mapping[str, Any], priority: int, retries: Retries) -> list[Node]:
    """What is to be done for a task of a route."""
    same: dict[str, Any] = {"payload": dict(payload), "retries": retries, "priority": priority}
    if route != "escalated":
        return [Node(CYCLE_NODE, CYCLES[route], **same)]
    same["priority"] += ESCALATED
    return [
        Node(FORESIGHT_NODE, FORESEE, **same),
        # It is what was asked for, also where nothing could be foreseen.
        Node(CYCLE_NODE, CYCLES[route], after=(FORESIGHT_NODE,), on_failure="skip", **same),
        Node(REFLECTION_NODE, REFLECT, after=(CYCLE_NODE,), **same),
    ]


def progressing(cycle: Task) -> dict[str, Any]:
    """Where a task is, by the task of its cycle in the store."""
    told = cycle.payload
    return {
        **{name: told[name] for name in ("id", "route", "surprise", "share", "priority")},
        "state": PROGRESS[cycle.state],
        "attempts": cycle.attempts,
        "error": cycle.error,
        "created": cycle.created,
        "finished": cycle.finished,
    }


def pipeline_task(nodes: Sequence[Task], results: Mapping[str, Any]) -> dict[str, Any]:
    """A task with what has come of it, by the nodes of its graph and their results."""
    steps = {str(node.node): PROGRESS[node.state] for node in nodes}
    return {
        **progressing(cycle_of(nodes)),
        "steps": {name: steps[name] for name in (FORESIGHT_NODE, CYCLE_NODE, REFLECTION_NODE) if name in steps},
        "result": results.get(CYCLE_NODE),
        "foresight": results.get(FORESIGHT_NODE),
        "reflection": results.get(REFLECTION_NODE),
    }


def cycle_of(nodes: Sequence[Task]) -> Task:
    """The node that has the cycle."""
    return next(node for node in nodes if node.node == CYCLE_NODE)
