"""The work that is measured: four years of real weather, lived through by many agents at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..core.model import GenerativeModel
from ..core.roster import Chunk
from ..files.models import load_model
from ..files.stimuli import read_stimuli
from ..pipeline.examples import example_model, example_stimuli


def example() -> GenerativeModel:
    """The umbrella model."""
    return load_model(example_model())


def chunks(model: GenerativeModel, agents: int, size: int, count: int) -> list[Chunk]:
    """``count`` chunks of ``size`` stimuli; agent i lives through the example's days beginning with day i."""
    days = np.concatenate([batch.observations for batch in read_stimuli([example_stimuli()], model)])
    names = np.array([f"agent-{i:06d}" for i in range(agents)])
    made = []
    for c in range(count):
        position = np.arange(c * size, (c + 1) * size)
        agent, age = position % agents, position // agents
        made.append(
            Chunk(
                names=names[agent].tolist(),
                time=age.astype(np.float64),
                observations=days[(agent + age) % len(days)],
                delta=np.zeros((size, 5)),
            )
        )
    return made


def write_jsonl(path: Path, model: GenerativeModel, agents: int, count: int) -> int:
    """The same stimuli as a file; returns how many."""
    (chunk,) = chunks(model, agents, count, 1)
    with open(path, "w") as file:
        for i, (name, time, outcomes) in enumerate(
            zip(chunk.names, chunk.time.tolist(), chunk.observations.tolist(), strict=True)
        ):
            seen = {m.name: m.outcomes[o] for m, o in zip(model.modalities, outcomes, strict=True) if o >= 0}
            file.write(json.dumps({"id": f"s{i}", "agent": name, "time": time, "observation": seen}) + "\n")
    return count
