"""A global workspace in one process, that other actors subscribe to."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from ..core.modulator_parameters import MODULATORS, OPPONENT_PROCESS
from ..core.roster import pack_names, unpack_names
from ..core.stages import Stage, pack_stages, unpack_stages, widened, without_forgotten
from ..core.workspace import GlobalWorkspace, Signals, WorkspaceParameters
from ..files.plain_text import from_text, to_text
from .durability import Continuity, Durability, acknowledged
from .levels import read_levels
from .process import prepare_process

#: Past broadcasts kept for subscribers that ask late.
KEPT_EVENTS = 1024
#: What an input may say of itself, beside ``id`` and ``content``, and what holds where it does not.
NUMBERS = {"surprise": 0.0, "relevance": 0.0, "valence": 0.0, "age": 0.0}
FLAGS = ("threat", "social")


@ray.remote(num_cpus=0, max_restarts=0)
class GlobalWorkspaceActor:
    """Inputs compete for a stage of limited capacity; what is held there is broadcast to every subscriber.

    capacity: contents held at once; salience_threshold: for ignition, at baseline norepinephrine; neurotransmitters: a
    NeurotransmitterActor asked for the levels that set the gains (baseline without one); agents: how many it holds,
    numbered from 0 as there, each with a stage of its own. Every call of ``broadcast`` is one moment of one agent,
    ``interval`` seconds after its last. parameters: everything else. durability: where stages and past events are
    saved before it answers, so that one that is started again continues from there; what is held must then be text,
    numbers, lists and dicts. Subscribers are not saved: they subscribe again, and ask ``events_after`` for what they
    missed. request: as in NeurotransmitterActor; one that comes again is not sent to subscribers again.
    """

    def __init__(
        self,
        capacity: int = 7,
        salience_threshold: float = 0.6,
        neurotransmitters: Any = None,
        agents: int = 1,
        interval: float = 0.25,
        parameters: WorkspaceParameters | None = None,
        durability: Durability | str | None = None,
    ) -> None:
        prepare_process()
        base = WorkspaceParameters() if parameters is None else parameters
        self.workspace = GlobalWorkspace(replace(base.at_threshold(salience_threshold), capacity=capacity))
        if agents < 1:
            raise ValueError(f"agents is {agents}; write 1 or more")
        self.neurotransmitters, self.agents, self.interval = neurotransmitters, agents, interval
        self.stages: dict[int, Stage] = {}
        self.events: deque[dict[str, Any]] = deque(maxlen=KEPT_EVENTS)
        self.sequence = 0
        self.subscribers: list[Any] = []
        self._resting: Tensor | None = None
        # Of the events by number, made once: a checkpoint holds a thousand of them.
        self._texts: dict[int, str] = {}
        self._continuity = Continuity(
            durability, actor="workspace", agents=agents, interval=interval, parameters=self.workspace.parameters
        )
        self._continuity.begin(self)

    def broadcast(
        self,
        inputs: Sequence[Mapping[str, Any]],
        state: Mapping[str, float] | None = None,
        agent: int = 0,
        *,
        request: str | None = None,
    ) -> dict[str, Any]:
        """One moment of competition on one agent's stage.

        inputs: any of ``id`` (by default the content's text), ``content``, ``surprise`` (nats) or ``probability``,
        ``relevance`` [0, 1], ``valence`` [-1, 1], ``threat``, ``social``, ``age`` (seconds); other fields are carried
        along. state: modulator levels; by default those of the NeurotransmitterActor. Returns ``broadcast``, the
        inputs held, the most salient first, each with its ``salience``, and ``salience_max`` over all inputs.
        Raises ValueError, naming input and field, and leaves the workspace as it was.
        """
        before = self.sequence
        result = self._compete(inputs, state, agent, request=request)
        # Only now that they are saved: nobody hears of what would be forgotten.
        if self.sequence > before:
            self._publish([event for event in self.events if event["sequence"] > before])
        return result

    @acknowledged
    def _compete(
        self,
        inputs: Sequence[Mapping[str, Any]],
        state: Mapping[str, float] | None,
        agent: int,
        *,
        request: str | None = None,
    ) -> dict[str, Any]:
        if not 0 <= agent < self.agents:
            raise ValueError(f"there is no agent {agent}; write a number between 0 and {self.agents - 1}")
        read = _read_all(inputs)
        ids = [x["id"] for x in read]
        levels, baseline = self._levels(state, agent)
        stage = self.stages.get(agent) or Stage([], self.workspace.initial(1, 0))
        known = set(stage.names)
        names = stage.names + [name for name in ids if name not in known]
        workspace = self.workspace.advance(widened(stage.state, len(names)), self.interval)
        signals = _signals(read, names)
        salience = self.workspace.salience(workspace, signals, levels, baseline)
        competition = self.workspace.compete(workspace, salience, levels, baseline)
        score = dict(zip(names, salience[0].tolist(), strict=True))
        held = {name for name, active in zip(names, competition.active[0].tolist(), strict=True) if active}
        contents = [{**x, "id": i, "salience": score[i]} for x, i in zip(inputs, ids, strict=True) if i in held]
        contents.sort(key=lambda x: -x["salience"])
        self.stages[agent] = without_forgotten(names, competition.state)
        if bool(competition.ignited.any()):
            self.sequence += 1
            self.events.append({"sequence": self.sequence, "agent": agent, "broadcast": contents})
        return {"broadcast": contents, "salience_max": max((score[i] for i in ids), default=0.0)}

    def subscribe(self, subscriber: Any) -> int:
        """From now on ``subscriber.on_broadcast(event)`` is called with every ignition, in order.

        subscriber: an actor handle; to subscribe twice changes nothing. An event is {"sequence": 1, 2, ..., "agent":
        whose, "broadcast": contents}. Returns the sequence number of the last ignition so far. Raises ValueError for
        an actor without that method.
        """
        if not hasattr(subscriber, "on_broadcast"):
            raise ValueError("the subscriber has no method on_broadcast(event); give it one, and subscribe its handle")
        if subscriber not in self.subscribers:
            self.subscribers.append(subscriber)
        return self.sequence

    def events_after(self, sequence: int = 0) -> list[dict[str, Any]]:
        """The ignitions after a sequence number, oldest first: what a subscriber that was away has missed.

        Raises LookupError if some of them are no longer kept.
        """
        oldest = self.events[0]["sequence"] if self.events else self.sequence + 1
        if sequence + 1 < oldest:
            raise LookupError(f"ignitions before {oldest} are no longer kept; start again from {oldest - 1}")
        return [event for event in self.events if event["sequence"] > sequence]

    def save(self) -> int | None:
        """Save the state now. Returns its generation in the store, None without durability."""
        return self._continuity.save(self)

    def _snapshot(self) -> dict[str, np.ndarray]:
        for event in self.events:
            if event["sequence"] not in self._texts:
                self._texts[event["sequence"]] = to_text(event, "what is held")
        self._texts = {event["sequence"]: self._texts[event["sequence"]] for event in self.events}
        events = pack_names(list(self._texts.values()))
        return {
            **pack_stages(self.stages),
            "sequence": np.array(self.sequence),
            "events": events["names"],
            "event_lengths": events["name_lengths"],
        }

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        events = unpack_names({"names": arrays["events"], "name_lengths": arrays["event_lengths"]})
        self.stages, self.sequence, self._texts = unpack_stages(arrays), int(arrays["sequence"]), {}
        self.events = deque((from_text(event) for event in events), maxlen=KEPT_EVENTS)

    def _memory(self) -> tuple[dict[int, Stage], deque[dict[str, Any]], int]:
        return dict(self.stages), self.events.copy(), self.sequence

    def _recall(self, memory: Any) -> None:
        self.stages, self.events, self.sequence = memory
        self._texts = {}

    def _publish(self, events: Sequence[dict[str, Any]]) -> None:
        for event in events:
            for subscriber in self.subscribers:
                # Ray delivers the calls of one caller to one actor in order, each once.
                subscriber.on_broadcast.remote(event)

    def _levels(self, state: Mapping[str, float] | None, agent: int) -> tuple[Tensor, Tensor]:
        if self._resting is None:
            resting = dict(zip(MODULATORS, OPPONENT_PROCESS.baseline, strict=True))
            if self.neurotransmitters is not None:
                resting = ray.get(self.neurotransmitters.get_baseline.remote())
            self._resting = torch.tensor([resting[name] for name in MODULATORS], dtype=torch.float64)
        if state is None and self.neurotransmitters is not None:
            state = ray.get(self.neurotransmitters.get_state.remote(agent))
        return read_levels(state, self._resting)[None], self._resting


def _read_all(inputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(inputs, Mapping) or not isinstance(inputs, Sequence):
        raise ValueError(f"inputs is a {type(inputs).__name__}; write a list of mappings, one for each input")
    read = [_read(i, x) for i, x in enumerate(inputs)]
    for name, count in Counter(x["id"] for x in read).items():
        if count > 1:
            raise ValueError(f"{count} inputs have the id {name!r}; give each an id of its own")
    return read


def _read(position: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """One input's id and signals. Raises ValueError for what cannot be scored."""
    if not isinstance(given, Mapping):
        raise ValueError(f"input {position} is {given!r}; write a mapping such as {{'content': 'bell', 'surprise': 2}}")

    def number(field: str, default: float) -> float:
        value = given.get(field, default)
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise ValueError(f"input {position}: {field} is {value!r}; write a finite number")
        return float(value)

    def flag(field: str) -> bool:
        value = given.get(field, False)
        if not isinstance(value, bool):
            raise ValueError(f"input {position}: {field} is {value!r}; write True or False")
        return value

    signals: dict[str, Any] = {field: number(field, default) for field, default in NUMBERS.items()}
    if "probability" in given:
        p = number("probability", 1.0)
        if not 0 < p <= 1:
            raise ValueError(f"input {position}: probability is {p}; write a number greater than 0, at most 1")
        signals["surprise"] = -math.log(p)
    elif not any(field in given for field in ("surprise", "relevance", "valence")):
        raise ValueError(
            f"input {position} has nothing to be scored by; write surprise (nats) or probability, relevance or valence"
        )
    identity = given.get("id", given.get("content"))
    if identity is None:
        raise ValueError(f"input {position} has neither id nor content; write one, so that it can be told apart")
    return {**signals, **{field: flag(field) for field in FLAGS}, "id": str(identity)}


def _signals(read: list[dict[str, Any]], names: list[str]) -> Signals:
    place = {x["id"]: x for x in read}
    absent = {**NUMBERS, **dict.fromkeys(FLAGS, False)}
    columns = {field: [place.get(name, absent)[field] for name in names] for field in (*NUMBERS, *FLAGS)}
    numbers = {field: torch.tensor([columns[field]], dtype=torch.float64) for field in NUMBERS}
    flags = {field: torch.tensor([columns[field]], dtype=torch.bool) for field in FLAGS}
    return Signals(**numbers, **flags, present=torch.tensor([[name in place for name in names]], dtype=torch.bool))
