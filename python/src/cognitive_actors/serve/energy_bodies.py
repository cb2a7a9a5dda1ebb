"""What ``/energy`` takes and gives."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from ..core.model import GenerativeModel
from .numbers import Whole
from .stimulus import observation_of

#: Of a factor's states, in their order. Only their ratios count.
HEAVIEST = 1e6
Weight = Annotated[float, Field(ge=0.0, le=HEAVIEST)]
Beliefs = dict[str, list[Weight]]


class TermsRequest(BaseModel):
    """``observation``: modalities by name, with the name or the number of the outcome, null where nothing was seen;
    ``beliefs``, ``prior``: for each factor, weights of its states in their order, such as probabilities: they are
    scaled to sum to one. Beliefs are inferred, and the prior is the model's, where they are left out. ``policies``: how
    many of them are told, the best ones."""

    model_config = ConfigDict(extra="forbid", strict=True)

    observation: dict[str, str | int | None] = Field(max_length=1000)
    beliefs: Beliefs | None = None
    prior: Beliefs | None = None
    policies: Whole = Field(10, ge=0, le=1000)


class DescendRequest(BaseModel):
    """``observation``, ``beliefs``, ``prior`` as for ``/terms``; ``rate``: how much of the gradient a step subtracts
    from the logits at most; ``steps``: how many at most."""

    model_config = ConfigDict(extra="forbid", strict=True)

    observation: dict[str, str | int | None] = Field(max_length=1000)
    beliefs: Beliefs
    prior: Beliefs | None = None
    rate: float = Field(1.0, ge=1e-6, le=1e6)
    steps: Whole = Field(1, ge=1, le=100)


def terms_of(model: GenerativeModel) -> type[TermsRequest]:
    """The request as this model takes it, for its OpenAPI: its modalities and factors by name."""
    believed = _beliefs_of(model)
    return create_model(
        "TermsRequest",
        __base__=TermsRequest,
        __doc__=TermsRequest.__doc__,
        observation=(observation_of(model), Field(max_length=1000)),
        beliefs=(believed | None, None),
        prior=(believed | None, None),
    )


def descend_of(model: GenerativeModel) -> type[DescendRequest]:
    """As :func:`terms_of`."""
    believed = _beliefs_of(model)
    return create_model(
        "DescendRequest",
        __base__=DescendRequest,
        __doc__=DescendRequest.__doc__,
        observation=(observation_of(model), Field(max_length=1000)),
        beliefs=(believed, ...),
        prior=(believed | None, None),
    )


def _beliefs_of(model: GenerativeModel) -> Any:
    weight = {"type": "number", "minimum": 0, "maximum": HEAVIEST}
    properties = {
        factor.name: {
            "type": "array",
            "items": weight,
            "minItems": len(factor.states),
            "maxItems": len(factor.states),
            # Something must be possible.
            "contains": {"type": "number", "exclusiveMinimum": 0},
            "description": ", ".join(factor.states),
        }
        for factor in model.factors
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
        "examples": [{factor.name: [1 / len(factor.states)] * len(factor.states) for factor in model.factors}],
    }
    return Annotated[Beliefs, WithJsonSchema(schema)]


class _Given(BaseModel):
    model_config = ConfigDict(strict=True)


class Policy(_Given):
    """What a policy is expected to cost, in nats, summed over its steps. ``total`` is risk + ambiguity - gains of the
    parameters, and just as well - utility - state information gain - gains of the parameters; lower is better.
    ``number``: in the model's order of policies."""

    policy: str
    number: int
    total: float
    risk: float
    ambiguity: float
    utility: float
    state_information_gain: float
    likelihood_information_gain: float
    transition_information_gain: float


class Terms(_Given):
    """Free energy of beliefs, in nats: the sum of ``complexity``, by factor, less that of ``accuracy``, by modality.
    ``gradient``: by the logits of the beliefs, for each factor in the order of its states; ``inferred``: the beliefs
    are the service's; ``policies``: the best ones, best first, of ``policies_total``."""

    beliefs: dict[str, list[float]]
    inferred: bool
    complexity: dict[str, float]
    accuracy: dict[str, float]
    free_energy: float
    gradient: dict[str, list[float]]
    policies: list[Policy]
    policies_total: int


class Descended(_Given):
    """Beliefs after the descent. ``before``, ``after``: free energy in nats, never higher after than before; ``rates``:
    of each step that was taken, fewer than asked for where no step lowered it any more."""

    beliefs: dict[str, list[float]]
    before: float
    after: float
    rates: list[float]
