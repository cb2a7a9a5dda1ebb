"""``/cognitive``: one cycle for a stimulus, with or without its consequences, and in words."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from ray import serve
from ray.exceptions import RayError

from .application import UNAUTHORIZED, Responses, answers, application, deployed, ready, takes
from .arguments import PopulationArguments
from .guard import CHANGES, take_longer
from .named import ROUTER
from .once import TAKEN, Once
from .problems import Refused
from .settings import ServiceSettings
from .stimulus import Cycle, Stimulus, stimulus_of
from .wording import conversation, seen
from .words import Worded, Words

#: Seconds that the agents' actor is given to say that it is there.
READY_SECONDS = 2.0
#: Of a stream, asked of the actor at a time.
STREAM_CHUNK = 32
NDJSON = "application/x-ndjson"
LATE = answers(_409="The stimulus is older than the last one of its agent.")
WORDLESS = answers(_404="No language model is named, or no node has it.")
LINES: Responses = {
    200: {"description": "A line of JSON for each stimulus, and one at the end.", "content": {NDJSON: {}}}
}


class CognitiveArguments(PopulationArguments):
    """``args`` of the application, beside which agents it is for. batch, wait: requests that are thought about together
    at most, and seconds that the first one waits for others: with many clients a shorter wait makes small batches, and
    each costs a call of the actor; language: the model that puts cycles into words, as ``/v1/models`` names it; router:
    that of ``/v1``; seconds: that words may take, the model's loading included."""

    batch: int = Field(32, ge=1)
    wait: float = Field(0.01, ge=0.0)
    language: str | None = Field(None, min_length=1)
    router: str = Field(ROUTER, min_length=1)
    seconds: float = Field(300.0, gt=0.0)


Several = Field(min_length=1, max_length=10_000)


class Stimuli(BaseModel):
    """Several stimuli, taken in order, each for itself: one that does not fit the model is refused alone."""

    stimuli: Annotated[list[Stimulus], Several]


class Cognitive:
    """The service in one process, stateless: the agents are in an actor of their own."""

    def __init__(self, arguments: CognitiveArguments) -> None:
        self.settings = ServiceSettings.read()
        self.population = arguments.shared()
        self.words = Words(arguments.language, arguments.router, arguments.seconds)
        for batched in (self._execute, self._advise):
            batched.set_max_batch_size(arguments.batch)
            batched.set_batch_wait_timeout_s(arguments.wait)

    def __serve_build_asgi_app__(self) -> FastAPI:
        # OpenAPI names the model's own modalities.
        known = stimulus_of(self.population.model)
        app = application("cognitive", "Cognitive cycles of active-inference agents.", self.settings, begin=self._begin)

        @app.get("/ready", tags=["health"])
        async def is_ready() -> JSONResponse:
            """Whether the agents can be asked; 503 with the reasons where not."""
            return ready(await self.population.ready(READY_SECONDS))

        @app.get("/status", tags=["health"])
        async def status() -> dict[str, Any]:
            """The model, the actor that owns the agents, and the limits in force."""
            return self._status()

        @app.post("/execute", dependencies=CHANGES, responses=UNAUTHORIZED | TAKEN, response_model=Cycle)
        @takes(stimulus=known)
        async def execute(stimulus: Stimulus, once: Once = None) -> JSONResponse:
            """One cycle of the stimulus' agent."""
            return JSONResponse(_accepted(await self._execute((stimulus.model_dump(exclude_none=True), once))))

        @app.post("/advisory", responses=LATE, response_model=Cycle)
        @takes(stimulus=known)
        async def advisory(stimulus: Stimulus) -> JSONResponse:
            """What ``/execute`` would answer; nothing changes."""
            return JSONResponse(_accepted(await self._advise(stimulus.model_dump(exclude_none=True))))

        # It costs, and so it is not for everybody.
        @app.post("/words", dependencies=CHANGES, responses=UNAUTHORIZED | WORDLESS | LATE, response_model=Worded)
        @takes(stimulus=known)
        async def words(stimulus: Stimulus, request: Request) -> JSONResponse:
            """What ``/execute`` would answer, and what a language model says of it; nothing changes."""
            language = self.words.named()
            take_longer(request, self.words.seconds)
            return JSONResponse(await self._worded(stimulus, language))

        @app.post("/stream", dependencies=CHANGES, responses=UNAUTHORIZED | LINES, response_class=StreamingResponse)
        async def stream(stimuli: Stimuli, once: Once = None) -> StreamingResponse:
            """A cycle for each stimulus, as lines of JSON. The last line is ``{"done": N}``: without it the stream is
            not whole. A line ``{"refused": …}`` stands for a stimulus that was not taken. Under its Idempotency-Key a
            stream may be sent again: what was lived of it is answered as then."""
            return StreamingResponse(self._lines(stimuli.stimuli, once), media_type=NDJSON)

        return app

    async def _begin(self) -> None:
        # That nobody need wait for it later. Where it cannot be now, it is said to who asks.
        with suppress(Refused, RayError):
            await self.population.actor()

    @serve.batch  # type: ignore[untyped-decorator]
    async def _execute(self, named: list[tuple[dict[str, Any], str | None]]) -> list[dict[str, Any] | Refused]:
        return await self.population.think([record for record, _ in named], keys=[key for _, key in named])

    @serve.batch  # type: ignore[untyped-decorator]
    async def _advise(self, records: list[dict[str, Any]]) -> list[dict[str, Any] | Refused]:
        return await self.population.think(records, advise=True)

    async def _worded(self, stimulus: Stimulus, language: str) -> dict[str, Any]:
        cycle = _accepted(await self._advise(stimulus.model_dump(exclude_none=True)))
        told = conversation(seen(self.population.model, stimulus.observation), cycle)
        return {"cycle": cycle, "model": language, "words": await self.words.say(told)}

    async def _lines(self, stimuli: list[Stimulus], once: str | None) -> AsyncIterator[bytes]:
        done = 0
        for begin in range(0, len(stimuli), STREAM_CHUNK):
            records = [stimulus.model_dump(exclude_none=True) for stimulus in stimuli[begin : begin + STREAM_CHUNK]]
            keys = [None if once is None else f"{once}/{begin + place}" for place in range(len(records))]
            for answer in await self.population.think(records, keys=keys):
                refused = isinstance(answer, Refused)
                done += not refused
                yield json.dumps({"refused": str(answer)} if refused else answer).encode() + b"\n"
        yield json.dumps({"done": done}).encode() + b"\n"

    def _status(self) -> dict[str, Any]:
        population = self.population
        return {
            "service": "cognitive",
            "model": population.model.name,
            "modalities": {m.name: list(m.outcomes) for m in population.model.modalities},
            "actor": population.name,
            "language": self.words.language,
            "durable": population.durability is not None,
            "timeout": self.settings.timeout,
            "in_flight": self.settings.in_flight,
            "authenticated": self.settings.token is not None,
        }


def _accepted(answer: dict[str, Any] | Refused) -> dict[str, Any]:
    if isinstance(answer, Refused):
        raise answer
    return answer


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, as a Serve configuration names it: ``cognitive_actors.serve.cognitive:build``.

    arguments: as :class:`CognitiveArguments` has them. Raises ValueError for others.
    """
    return deployed(Cognitive, CognitiveArguments.model_validate(arguments))
