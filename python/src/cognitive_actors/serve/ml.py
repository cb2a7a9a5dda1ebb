"""``/ml``: salience, change and anomaly of streams, and embeddings of texts."""

from collections.abc import Mapping
from typing import Any

import torch
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from ray import serve

from ..actors.levels import read_levels
from ..actors.process import prepare_process
from ..actors.streams import StreamParameters
from ..core.cycle import CycleSettings
from ..core.drift import CusumParameters
from ..core.embedding import TextEmbedding
from ..core.model import GenerativeModel
from ..core.workspace import GlobalWorkspace, Signals
from ..files.models import load_model
from ..pipeline.examples import example_model
from . import ml_bodies as bodies
from .application import UNAUTHORIZED, answers, application, deployed, ready
from .guard import CHANGES
from .ml_bodies import StreamName
from .once import Once
from .settings import ServiceSettings
from .streams import STREAMS, STREAMS_KEPT, SharedStreams

#: Seconds that the streams' actor is given to say that it is there.
READY_SECONDS = 2.0
#: What ``core.embedding`` does; another number for one that gives other vectors.
EMBEDDING = "signed-feature-hashing-1"
KNOWN = answers(_409="The numbers of this Idempotency-Key have been counted, and the answer is no longer kept.")
OTHER = answers(
    _409="The vectors are not as long as those of the stream; or those of this Idempotency-Key have been learned, and"
    " the answer is no longer kept."
)
COMPONENTS = ("salience", "bottom_up", "top_down", "affective")


class MlArguments(BaseModel):
    """``args`` of the application. model: path of the generative model that ``/models`` tells of, the umbrella example
    without one; actor: name of the actor that owns the streams; streams: how many of each kind it keeps at most, the
    one that was not used for longest makes room; k, h, baseline: of the cumulative sums; reference, recent: lengths of
    the two windows. All but the first two are those of whoever made the actor."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    actor: str = STREAMS
    streams: int = Field(STREAMS_KEPT, ge=1)
    k: float = Field(CusumParameters.k, ge=0.0, allow_inf_nan=False)
    h: float = Field(CusumParameters.h, gt=0.0, allow_inf_nan=False)
    baseline: int = Field(CusumParameters.baseline, ge=2)
    reference: int = Field(StreamParameters.reference, ge=2)
    recent: int = Field(StreamParameters.recent, ge=2)


class Ml:
    """The service in one process, stateless: the streams are in an actor of their own."""

    def __init__(self, arguments: MlArguments) -> None:
        prepare_process()
        self.settings = ServiceSettings.read()
        self.model = load_model(arguments.model or example_model())
        # As the cycle has them.
        settings = CycleSettings()
        self.workspace = GlobalWorkspace(settings.workspace)
        self.resting = torch.tensor(settings.modulators.baseline, dtype=torch.float64)
        cusum = CusumParameters(k=arguments.k, h=arguments.h, baseline=arguments.baseline)
        parameters = StreamParameters(cusum, arguments.reference, arguments.recent)
        self.streams = SharedStreams(arguments.actor, parameters, arguments.streams)
        self.streams.actor()

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = application("ml", "Salience, change and anomaly of streams, embeddings of texts.", self.settings)
        self._add_health(app)
        self._add_streams(app)

        @app.post("/salience")
        async def salience(request: bodies.SalienceRequest) -> bodies.Saliences:
            """How salient new contents are, under the modulators, and by what. Nothing changes."""
            return self._salience(request)

        # No coroutine: it takes a while, and others are not to wait.
        @app.post("/embeddings")
        def embeddings(request: bodies.EmbeddingsRequest) -> bodies.Embeddings:
            """Texts as vectors whose inner products say how much wording they share. Nothing changes."""
            vectors = TextEmbedding(request.dimension)(request.texts)
            return bodies.Embeddings(method=EMBEDDING, dimension=request.dimension, vectors=vectors.tolist())

        @app.get("/models")
        async def models() -> bodies.Models:
            """The generative model that is loaded, and how texts are embedded."""
            return _models(self.model)

        return app

    def _add_health(self, app: FastAPI) -> None:
        @app.get("/ready", tags=["health"])
        async def is_ready() -> JSONResponse:
            """Whether the streams can be asked; 503 with the reasons where not."""
            return ready(await self.streams.ready(READY_SECONDS))

        @app.get("/status", tags=["health"])
        async def status() -> dict[str, Any]:
            """The actor that owns the streams, and the limits in force."""
            return self._status()

    def _add_streams(self, app: FastAPI) -> None:
        @app.post("/drift", dependencies=CHANGES, responses=UNAUTHORIZED | KNOWN)
        async def drift(request: bodies.DriftRequest, once: Once = None) -> bodies.Drift:
            """Whether a stream of numbers has changed: cumulative sums, and its last numbers beside its first."""
            return _drift(request.stream, await self.streams.drift(request.stream, request.values, once))

        @app.delete("/drift/{stream}", dependencies=CHANGES, responses=UNAUTHORIZED)
        async def forget_drift(stream: StreamName) -> bodies.Forgotten:
            """Begin a stream of numbers anew."""
            return bodies.Forgotten(stream=stream, known=await self.streams.forget("drift", stream))

        @app.post("/anomaly", dependencies=CHANGES, responses=UNAUTHORIZED | OTHER)
        async def anomaly(request: bodies.AnomalyRequest, once: Once = None) -> bodies.Anomaly:
            """How unusual vectors are beside those that their stream has learned, which then learns them, too."""
            found = await self.streams.anomaly(request.stream, request.vectors, learn=request.learn, once=once)
            scores, tails = found.pop("distance"), found.pop("p_value")
            return bodies.Anomaly(stream=request.stream, scores=scores, tail_probabilities=tails, **found)

        @app.delete("/anomaly/{stream}", dependencies=CHANGES, responses=UNAUTHORIZED)
        async def forget_anomaly(stream: StreamName) -> bodies.Forgotten:
            """Begin a stream of vectors anew, which may then be of another length."""
            return bodies.Forgotten(stream=stream, known=await self.streams.forget("anomaly", stream))

    def _salience(self, request: bodies.SalienceRequest) -> bodies.Saliences:
        given = request.modulators.model_dump(exclude_none=True)
        levels = read_levels(given, self.resting)[None]
        # A workspace for the whole and one for each component, which has the others' signals at zero.
        count, rows = len(request.inputs), len(COMPONENTS)
        state = self.workspace.initial(rows, count)
        found = self.workspace.salience(state, _signals(request.inputs), levels.expand(rows, -1), self.resting)
        return bodies.Saliences(
            saliences=[bodies.Salience(**dict(zip(COMPONENTS, row, strict=True))) for row in found.T.tolist()],
            threshold=float(self.workspace.threshold(levels, self.resting)),
        )

    def _status(self) -> dict[str, Any]:
        return {
            "service": "ml",
            "model": self.model.name,
            "embedding": EMBEDDING,
            "actor": self.streams.name,
            "streams": self.streams.streams,
            "durable": self.streams.durability is not None,
            "timeout": self.settings.timeout,
            "in_flight": self.settings.in_flight,
            "authenticated": self.settings.token is not None,
        }


def _signals(inputs: list[bodies.SalienceInput]) -> Signals:
    """Rows in the order of COMPONENTS."""

    def rows(name: str, *shown: int) -> torch.Tensor:
        values = torch.tensor([getattr(x, name) for x in inputs], dtype=torch.float64)
        return values * torch.tensor(shown, dtype=torch.float64)[:, None]

    everywhere = (1,) * len(COMPONENTS)
    return Signals(
        surprise=rows("surprise", 1, 1, 0, 0),
        relevance=rows("relevance", 1, 0, 1, 0),
        valence=rows("valence", 1, 0, 0, 1),
        threat=rows("threat", *everywhere).bool(),
        social=rows("social", *everywhere).bool(),
        age=rows("age", *everywhere),
        present=torch.ones(len(COMPONENTS), len(inputs), dtype=torch.bool),
    )


def _drift(stream: str, found: Mapping[str, Any]) -> bodies.Drift:
    return bodies.Drift(
        stream=stream,
        cusum=bodies.Cusum(**{name: found[name] for name in bodies.Cusum.model_fields}),
        windows=bodies.Windows(**{name: found[name] for name in bodies.Windows.model_fields}),
        **{name: found[name] for name in ("seen", "alarm", "rises", "falls", "z")},
    )


def _models(model: GenerativeModel) -> bodies.Models:
    names = [factor.name for factor in model.factors]
    embedding = TextEmbedding()
    return bodies.Models(
        generative=bodies.GenerativeShape(
            name=model.name,
            horizon=model.horizon,
            policies=model.num_policies,
            precision=str(model.dtype).removeprefix("torch."),
            factors=[
                bodies.FactorShape(name=f.name, states=list(f.states), actions=list(f.actions)) for f in model.factors
            ],
            modalities=[
                bodies.ModalityShape(name=m.name, outcomes=list(m.outcomes), depends_on=[names[f] for f in m.factors])
                for m in model.modalities
            ],
            arrays={name: list(x.shape) for name, x in model.tensors().items()},
        ),
        embedding=bodies.EmbeddingMethod(method=EMBEDDING, shortest=embedding.shortest, longest=embedding.longest),
    )


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, as a Serve configuration names it: ``cognitive_actors.serve.ml:build``.

    arguments: as :class:`MlArguments` has them. Raises ValueError for others.
    """
    return deployed(Ml, MlArguments.model_validate(arguments))
