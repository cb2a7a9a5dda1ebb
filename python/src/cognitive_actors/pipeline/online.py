"""One stimulus at a time: a session that keeps its agents, and the one-call form of it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import ray

from ..actors.population import PopulationActor
from ..cluster import ClusterError, ensure_ray_initialized
from ..core.cycle import CognitiveCycle, CycleSettings
from ..core.model import GenerativeModel
from ..core.roster import Chunk, Roster
from ..files.errors import InputError
from ..files.jsonl import parse_records
from ..files.models import load_model
from .examples import example_model
from .outcomes import outcome_record
from .supervision import ActorLost, await_ready, results, stop

#: Stimuli of a stream that may be under way at a time.
AHEAD = 64


@dataclass(frozen=True)
class _UnderWay:
    """A stimulus that was sent to the actor; columns: reference to what becomes of it."""

    id: str | None
    chunk: Chunk
    columns: Any


class Session:
    """Agents that live in one actor and take stimuli as they come: one round trip each.

    model: a GenerativeModel or the path of one. Use it in a ``with`` statement, or call ``close``. Results equal those
    of ``run`` on the same stimuli. Raises ModelError or ValueError for a model or settings that do not fit, and
    ClusterError where the cluster has no room.
    """

    def __init__(self, model: GenerativeModel | str | Path, settings: CycleSettings | None = None) -> None:
        self.model = model if isinstance(model, GenerativeModel) else load_model(model)
        settings = CycleSettings() if settings is None else settings
        # What the actor would refuse is refused here, where the message can be read.
        Roster(CognitiveCycle(self.model, settings))
        ensure_ray_initialized()
        # It mostly waits, so it takes no CPU from runs; on a full cluster it would else never start.
        self.actor = PopulationActor.options(num_cpus=0).remote(self.model, settings)  # type: ignore[attr-defined]
        try:
            await_ready([self.actor])
        except ActorLost as loss:
            raise ClusterError(f"the agents' actor died before it could work: {loss}") from loss

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the actor; the agents' state is gone."""
        stop([self.actor])

    def step(self, stimulus: Mapping[str, Any]) -> dict[str, Any]:
        """One cognitive cycle of the stimulus' agent.

        stimulus: a record as in a JSONL file. Returns ``broadcast`` ({"broadcast": [...], "salience_max": x}),
        ``free_energy`` (nats), ``new_state`` (modulator levels) and ``action``. Raises InputError for a stimulus the
        model does not allow, or one older than its agent's last, and ClusterError if the actor died with its agents.
        """
        return self._result(self._send(stimulus))

    def stream(self, stimuli: Iterable[Mapping[str, Any]], ahead: int = AHEAD) -> Iterator[dict[str, Any]]:
        """The results of stimuli in their order. Memory is bounded.

        ahead: stimuli under way at a time; a result is there at the latest when that many more were taken. Raises as
        ``step``; the results of all stimuli before a bad one come first.
        """
        under_way: deque[_UnderWay] = deque()
        for stimulus in stimuli:
            try:
                under_way.append(self._send(stimulus))
            except InputError:
                yield from map(self._result, under_way)
                raise
            if len(under_way) > ahead:
                yield self._result(under_way.popleft())
        yield from map(self._result, under_way)

    def _send(self, stimulus: Mapping[str, Any]) -> _UnderWay:
        batch = parse_records([stimulus], self.model)
        chunk = Chunk(batch.agents, batch.time, batch.observations, batch.delta)
        return _UnderWay(batch.ids[0] if "id" in stimulus else None, chunk, self.actor.process.remote(chunk))

    def _result(self, sent: _UnderWay) -> dict[str, Any]:
        chunk = sent.chunk
        try:
            columns = results([sent.columns])[0]
        except ActorLost as loss:
            raise ClusterError(f"the agents' actor died, and their state with it: {loss}; open a new session") from loss
        if columns["late"][0]:
            raise InputError(f"time runs backwards for agent {chunk.names[0]!r}; send each agent's stimuli by time")
        return {"id": sent.id, **outcome_record(self.model, chunk, columns, 0)}


@dataclass(frozen=True)
class _Default:
    """The session of calls without one: of which model, and in which connection to Ray."""

    model: GenerativeModel | Path
    connection: tuple[str, str]
    session: Session

    def serves(self, model: GenerativeModel | Path) -> bool:
        if not ray.is_initialized() or _connection() != self.connection:
            return False
        return model is self.model or (isinstance(model, Path) and model == self.model)


def _connection() -> tuple[str, str]:
    """What no other connection to Ray has: the node, and the job that ends with this connection."""
    context = ray.get_runtime_context()
    return str(context.get_node_id()), str(context.get_job_id())


_default: _Default | None = None
_lock = threading.Lock()


def run_distributed_inference(
    input_data: Mapping[str, Any], session: Session | None = None, model: GenerativeModel | str | Path | None = None
) -> dict[str, Any]:
    """One stimulus through the cognitive pipeline on the connected cluster (embedded Ray where there is none).

    Returns {"broadcast", "free_energy", "new_state"} and more; see :meth:`Session.step`. Without a session a default
    one is made on the first call, from ``model`` (the umbrella example by default), and used again by later calls
    with the same model: agents keep their state between calls.
    """
    return (session or _default_session(model)).step(input_data)


def _default_session(model: GenerativeModel | str | Path | None) -> Session:
    global _default
    wanted = model if isinstance(model, GenerativeModel) else Path(model or example_model())
    with _lock:
        if _default is None or not _default.serves(wanted):
            session = Session(wanted)
            _default = _Default(wanted, _connection(), session)
        return _default.session
