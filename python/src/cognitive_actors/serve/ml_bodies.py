"""What ``/ml`` takes and gives."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..core.anomaly import LARGEST as LARGEST_FEATURE
from ..core.two_sample import LARGEST
from .numbers import Whole

#: As it stands in a path, too: no slash, and no dot in front.
STREAM = r"^[A-Za-z0-9][A-Za-z0-9 ._:-]*$"
#: Of a stream, at a time: some tenths of a second of its actor's time.
MOST_VALUES = 500
MOST_VECTORS, MOST_FEATURES = 500, 128
#: Some hundred thousand n-grams, about a second.
MOST_TEXTS, LONGEST_TEXT, LARGEST_DIMENSION = 64, 2000, 4096
#: Nats and seconds beyond any meaning, and far from what overflows.
MOST_NATS, OLDEST = 1e9, 1e15

StreamName = Annotated[str, Field(min_length=1, max_length=200, pattern=STREAM, examples=["rain:seattle"])]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Value = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Feature = Annotated[float, Field(ge=-LARGEST_FEATURE, le=LARGEST_FEATURE)]
Vector = Annotated[list[Feature], Field(min_length=1, max_length=MOST_FEATURES)]
Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Given(BaseModel):
    model_config = ConfigDict(strict=True)


class SalienceInput(_Asked):
    """A candidate for the workspace, new to it. ``surprise``: nats; ``age``: seconds since it came up."""

    surprise: float = Field(0.0, ge=0.0, le=MOST_NATS)
    relevance: Share = 0.0
    valence: float = Field(0.0, ge=-1.0, le=1.0)
    threat: bool = False
    social: bool = False
    age: float = Field(0.0, ge=0.0, le=OLDEST)


class Levels(_Asked):
    """Levels of the modulators; those left out are at rest."""

    dopamine: Share | None = None
    serotonin: Share | None = None
    oxytocin: Share | None = None
    cortisol: Share | None = None
    norepinephrine: Share | None = None


class SalienceRequest(_Asked):
    """Candidates, each judged by itself."""

    inputs: Annotated[list[SalienceInput], Field(min_length=1, max_length=1000)]
    modulators: Levels = Field(default_factory=Levels)


class Salience(_Given):
    """Salience and what it consists of: surprise (bottom-up), relevance (top-down) and affect, each with its gain and
    aged. They add up to it, but for rounding."""

    salience: float
    bottom_up: float
    top_down: float
    affective: float


class Saliences(_Given):
    """One for each input, in order. ``threshold``: the salience from which a content ignites."""

    saliences: list[Salience]
    threshold: float


class DriftRequest(_Asked):
    """Numbers of a stream, first to last, that follow on those that it has had."""

    stream: StreamName
    values: Annotated[list[Value], Field(min_length=1, max_length=MOST_VALUES)]


class Cusum(_Given):
    """The cumulative sums after the last number. ``learning``: the baseline is not full yet, and nothing is judged;
    ``mean``, ``deviation``: of the baseline; ``upper``, ``lower``: the sums, in deviations; ``upper_run``,
    ``lower_run``: numbers since the sum was last zero, which dates the change once there is an alarm."""

    learning: bool
    mean: float
    deviation: float
    upper: float
    lower: float
    upper_run: int
    lower_run: int


class Windows(_Given):
    """The last numbers beside the first. ``compared``: both windows are full; ``difference``: of their means, in
    deviations; ``ks``: largest distance of their distribution functions; ``p_value``: probability of one as large."""

    compared: bool
    difference: float
    ks: float
    p_value: float


class Drift(_Given):
    """What the numbers say of their stream. ``seen``: numbers it has had in all; ``z``: each number of this request in
    deviations from the mean, zero while learning; ``rises``, ``falls``: the places in this request, from zero, at which
    there was an alarm; ``alarm``: there is one after the last."""

    stream: str
    seen: int
    alarm: bool
    rises: list[int]
    falls: list[int]
    z: list[float]
    cusum: Cusum
    windows: Windows


class Forgotten(_Given):
    """A stream that is not known any more. ``known``: it was, before."""

    stream: str
    known: bool


class AnomalyRequest(_Asked):
    """Vectors of a stream, all as long as the first that the stream has learned. ``learn``: it learns from these, after
    they were scored."""

    stream: StreamName
    vectors: Annotated[list[Vector], Field(min_length=1, max_length=MOST_VECTORS)]
    learn: bool = True


class Anomaly(_Given):
    """How unusual the vectors are beside what their stream had learned before. ``seen``: vectors it has learned from
    now; ``ready``: it had learned from ``minimum``, below which all scores are 0 and all probabilities 1; ``scores``:
    Mahalanobis distances; ``tail_probabilities``: of a distance as large, under a Gaussian."""

    stream: str
    seen: int
    features: int
    minimum: int
    ready: bool
    scores: list[float]
    tail_probabilities: list[float]


class EmbeddingsRequest(_Asked):
    """Texts to be embedded."""

    texts: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
    dimension: Whole = Field(512, ge=1, le=LARGEST_DIMENSION)


class Embeddings(_Given):
    """A vector of length one for each text; zeros for a text without a word."""

    method: str
    dimension: int
    vectors: list[list[float]]


class FactorShape(_Given):
    """A hidden state factor."""

    name: str
    states: list[str]
    actions: list[str]


class ModalityShape(_Given):
    """An observation modality, and the factors that cause it."""

    name: str
    outcomes: list[str]
    depends_on: list[str]


class GenerativeShape(_Given):
    """The generative model. ``arrays``: the shape of each, of which the first axis is agents, 1 where all share it."""

    name: str
    horizon: int
    policies: int
    precision: str
    factors: list[FactorShape]
    modalities: list[ModalityShape]
    arrays: dict[str, list[int]]


class EmbeddingMethod(_Given):
    """How texts become vectors. ``shortest``, ``longest``: characters of an n-gram."""

    method: str
    shortest: int
    longest: int


class Models(_Given):
    """What is loaded."""

    generative: GenerativeShape
    embedding: EmbeddingMethod
