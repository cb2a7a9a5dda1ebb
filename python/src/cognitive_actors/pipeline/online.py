"""One stimulus at a time: a session that keeps its agents, and the one-call form of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import ray
from ray.exceptions import RayTaskError

from ..actors.population import PopulationActor
from ..cluster import ensure_ray_initialized
from ..core.cycle import CycleSettings
from ..core.model import GenerativeModel
from ..core.modulator_parameters import MODULATORS
from ..core.roster import Chunk
from ..files.errors import InputError
from ..files.models import load_model
from ..files.jsonl import parse_records
from .examples import example_model

#: Stimuli of a stream that may be under way at a time.
AHEAD = 64


class Session:
    """Agents that live in one actor and take stimuli as they come: one round trip each.

    model: a GenerativeModel or the path of one. Use it in a ``with`` statement, or call ``close``. Results equal those
    of ``run`` on the same stimuli.
    """

    def __init__(self, model: GenerativeModel | str | Path, settings: CycleSettings | None = None) -> None:
        ensure_ray_initialized()
        self.model = model if isinstance(model, GenerativeModel) else load_model(model)
        settings = CycleSettings() if settings is None else settings
        self.actor = PopulationActor.remote(self.model, settings)  # type: ignore[attr-defined]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the actor; the agents' state is gone."""
        ray.kill(self.actor)

    def step(self, stimulus: Mapping[str, Any]) -> dict[str, Any]:
        """One cognitive cycle of the stimulus' agent.

        stimulus: a record as in a JSONL file. Returns ``broadcast`` ({"broadcast": [...], "salience_max": x}),
        ``free_energy`` (nats), ``new_state`` (modulator levels) and ``action``. Raises InputError for a stimulus the
        model does not allow, or one older than its agent's last.
        """
        chunk = self._chunk(stimulus)
        return self._result(stimulus, chunk, _get(self.actor.process.remote(chunk)))

    def stream(self, stimuli: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The results of stimuli in their order, a few of them under way at a time. Memory is bounded."""
        under_way: deque[tuple[Mapping[str, Any], Chunk, Any]] = deque()
        for stimulus in stimuli:
            chunk = self._chunk(stimulus)
            under_way.append((stimulus, chunk, self.actor.process.remote(chunk)))
            if len(under_way) >= AHEAD:
                first, its_chunk, reference = under_way.popleft()
                yield self._result(first, its_chunk, _get(reference))
        for stimulus, chunk, reference in under_way:
            yield self._result(stimulus, chunk, _get(reference))

    def _chunk(self, stimulus: Mapping[str, Any]) -> Chunk:
        batch = parse_records([stimulus], self.model)
        return Chunk(batch.agents, batch.time, batch.observations, batch.delta)

    def _result(self, stimulus: Mapping[str, Any], chunk: Chunk, columns: dict[str, np.ndarray]) -> dict[str, Any]:
        if columns["late"][0]:
            raise InputError(f"time runs backwards for agent {chunk.names[0]!r}; send each agent's stimuli by time")
        modalities = self.model.modalities
        salience, entered = columns["salience"][0], columns["broadcast"][0]
        contents = [
            {
                "modality": m.name,
                "content": m.outcomes[o] if o >= 0 else None,
                "salience": float(s),
            }
            for m, o, s, b in zip(modalities, chunk.observations[0].tolist(), salience, entered, strict=True)
            if b
        ]
        contents.sort(key=lambda c: -float(c["salience"] or 0.0))
        action = columns["action"][0].tolist()
        return {
            "id": stimulus.get("id"),
            "agent": chunk.names[0],
            "broadcast": {"broadcast": contents, "salience_max": float(salience.max(initial=0.0))},
            "free_energy": float(columns["free_energy"][0]),
            "expected_free_energy": float(columns["expected_free_energy"][0]),
            "new_state": dict(zip(MODULATORS, columns["levels"][0].tolist(), strict=True)),
            "action": {
                f.name: f.actions[u] for f, u in zip(self.model.factors, action, strict=True) if f.controllable
            },
        }


_default: tuple[Any, Session] | None = None


def run_distributed_inference(
    input_data: Mapping[str, Any], session: Session | None = None, model: GenerativeModel | str | Path | None = None
) -> dict[str, Any]:
    """One stimulus through the cognitive pipeline on the connected cluster (embedded Ray where there is none).

    Returns {"broadcast", "free_energy", "new_state"} and more; see :meth:`Session.step`. Without a session a default
    one is made on the first call, from ``model`` (the umbrella example by default), and used again by later calls
    with the same model: agents keep their state between calls.
    """
    global _default
    if session is not None:
        return session.step(input_data)
    wanted = example_model() if model is None else model
    if _default is None or not ray.is_initialized() or _default[0] != wanted:
        _default = (wanted, Session(wanted))
    return _default[1].step(input_data)


def _get(reference: Any) -> dict[str, np.ndarray]:
    try:
        columns: dict[str, np.ndarray] = ray.get(reference)
    except RayTaskError as error:
        raise (error.cause or error) from None
    return columns

