"""What the cognitive services take and give: a stimulus, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from ..core.model import GenerativeModel
from ..core.modulator_parameters import MODULATORS

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Stimulus(BaseModel):
    """A record as in a JSONL file of stimuli. ``observation``: modalities of the model, by name, with the name or the
    number of the outcome, null where nothing was seen. ``delta``: impulses to the modulators."""

    model_config = ConfigDict(extra="forbid", strict=True)

    observation: dict[str, str | int | None] = Field(max_length=1000)
    id: Name | None = None
    agent: Name | None = None
    time: float | None = Field(None, description="Seconds; each agent's never run backwards.", allow_inf_nan=False)
    delta: dict[str, float | None] | None = Field(None, max_length=20)


def stimulus_of(model: GenerativeModel) -> type[Stimulus]:
    """The stimulus as this model takes it, for its OpenAPI: the model's modalities and outcomes by name."""
    impulses = {
        "type": "object",
        "properties": {name: {"anyOf": [{"type": "number"}, {"type": "null"}]} for name in MODULATORS},
        "additionalProperties": False,
    }
    felt: Any = Annotated[dict[str, float | None], WithJsonSchema(impulses)]
    return create_model(
        "Stimulus",
        __base__=Stimulus,
        __doc__=Stimulus.__doc__,
        observation=(observation_of(model), Field(max_length=1000)),
        delta=(felt | None, None),
    )


def observation_of(model: GenerativeModel) -> Any:
    """The type of an observation as this model takes it."""
    first = model.modalities[0]
    observation = {
        "type": "object",
        "properties": {m.name: _outcome(m.outcomes) for m in model.modalities},
        "additionalProperties": False,
        # Something must have been seen.
        "not": {"additionalProperties": {"type": "null"}},
        "examples": [{first.name: first.outcomes[0]}],
    }
    return Annotated[dict[str, str | int | None], WithJsonSchema(observation)]


def _outcome(names: Sequence[str]) -> dict[str, Any]:
    number = {"type": "integer", "minimum": 0, "maximum": len(names) - 1}
    return {"anyOf": [{"enum": list(names)}, number, {"type": "null"}]}


class Content(BaseModel):
    """An outcome that entered the workspace."""

    modality: str
    content: str | None
    salience: float


class Broadcast(BaseModel):
    """What the workspace broadcast, most salient first."""

    broadcast: list[Content]
    salience_max: float


class Cycle(BaseModel):
    """What one cognitive cycle came to. Free energies in nats; ``new_state``: levels of the modulators; ``action``: the
    chosen action of each controllable factor."""

    id: str | None = None
    agent: str
    broadcast: Broadcast
    free_energy: float
    expected_free_energy: float
    new_state: dict[str, float]
    action: dict[str, str]
