"""``/v1``: language models by OpenAI's chat completions, each on a coordinator that the router puts where it fits."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.exceptions import RayError

from ..llama import Done, LlamaError, RayHybridRouter, node_registry
from ..llama.errors import CoordinatorFailed, DeadlineExceeded, ModelUnknown, PoolBusy, RequestRefused
from ..llama.options import CONTEXT
from ..placement import DoesNotFit, ModelUnfit
from .application import UNAUTHORIZED, Responses, answers, application, deployed, ready
from .chat_bodies import ChatCompletion, ChatRequest, Model, Models
from .guard import CHANGES
from .named import ROUTER, reasons_of
from .problems import RETRY_SECONDS, Refused, away
from .settings import ServiceSettings

#: Seconds that registry and router are given to say that they are there.
READY_SECONDS = 2.0
EVENTS = "text/event-stream"
SAID: Responses = {
    200: {
        "description": "The answer; with `stream`, server-sent events of its chunks, the last of which is `[DONE]`:"
        " without it the answer is not whole, and an event with `error` may say why.",
        "content": {EVENTS: {}},
    }
}
UNKNOWN = answers(_404="No node has such a model.")
_ENDED = b"data: [DONE]\n\n"


class ChatArguments(BaseModel):
    """``args`` of the application, the same in all that share the router. router: name of its actor; seconds: that an
    answer may take, its model's loading included; pools: models that are served at once; the others are those of
    :class:`~cognitive_actors.llama.RayHybridRouter`."""

    model_config = ConfigDict(extra="forbid")

    router: str = Field(ROUTER, min_length=1)
    seconds: float = Field(300.0, gt=0.0)
    pools: int = Field(1, ge=1)
    waiting: int = Field(8, ge=1)
    context: int = Field(CONTEXT, ge=1)
    policy: str = "exact"
    base_port: int | None = Field(None, ge=1, le=65535)
    distributed: bool = True

    def hybrid_router(self) -> RayHybridRouter:
        """The router, made where there is none."""
        return RayHybridRouter(
            enable_distributed=self.distributed,
            num_pools=self.pools,
            coordinator_base_port=self.base_port,
            policy=self.policy,
            context=self.context,
            waiting=self.waiting,
            load_seconds=self.seconds,
            name=self.router,
        )


class Chat:
    """The service in one process, stateless: the models' servers belong to the router's actor."""

    def __init__(self, arguments: ChatArguments) -> None:
        settings = ServiceSettings.read()
        # A model takes its time, and may have to be loaded first.
        self.settings = replace(settings, timeout=max(settings.timeout, arguments.seconds))
        self.arguments = arguments
        self.router = arguments.hybrid_router()

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = application("chat", "Language models, by OpenAI's chat completions.", self.settings)

        @app.get("/ready", tags=["health"])
        async def is_ready() -> JSONResponse:
            """Whether the router and the nodes' registry answer, and a node has a model; 503 with the reasons."""
            return ready(await self._reasons())

        @app.get("/status", tags=["health"])
        async def status() -> dict[str, Any]:
            """The models that are served, on which node and RPC servers, and the limits in force."""
            return await self._status()

        @app.get("/models", response_model=Models)
        async def models() -> Models:
            """The models that nodes have, and that may be asked for."""
            return Models(data=await self._models())

        @app.post(
            "/chat/completions",
            dependencies=CHANGES,
            responses=UNAUTHORIZED | UNKNOWN | SAID,
            response_model=ChatCompletion,
        )
        async def complete(conversation: ChatRequest) -> Any:
            """The next turn of a conversation. A model that is not loaded is loaded first, where it fits."""
            try:
                if conversation.stream:
                    return await self._streamed(conversation)
                return JSONResponse(await self._whole(conversation))
            except (LlamaError, DoesNotFit, ModelUnfit) as error:
                raise refusal(error) from error

        return app

    async def _whole(self, conversation: ChatRequest) -> dict[str, Any]:
        said = conversation.parameters()
        answer = await self.router.achat(
            conversation.model, said.pop("messages"), seconds=self.arguments.seconds, **said
        )
        return answer | {"model": conversation.model}

    async def _streamed(self, conversation: ChatRequest) -> StreamingResponse:
        said = conversation.parameters()
        messages = said.pop("messages")
        events = self.router.astream(conversation.model, messages, seconds=self.arguments.seconds, **said)
        # What is wrong before the first word is a status of its own. The first event only says whose turn it is, and
        # goes with the second, which comes right behind it.
        begun = [await anext(events)]
        if not isinstance(begun[0], Done):
            begun.append(await anext(events))
        return StreamingResponse(_lines(begun, events), media_type=EVENTS)

    async def _models(self) -> list[Model]:
        nodes: dict[str, list[str]] = {}
        for each in await node_registry().known.remote():
            for model in each.report.models:
                if model.sizes is not None:
                    nodes.setdefault(model.name, []).append(each.report.name)
        return [Model(id=name, owned_by=", ".join(sorted(nodes[name]))) for name in sorted(nodes)]

    async def _reasons(self) -> list[str]:
        reasons = await reasons_of("llama-nodes", _asked(node_registry().ready), READY_SECONDS)
        reasons += await reasons_of(self.arguments.router, self.router.ready(), READY_SECONDS)
        if not reasons and not await self._models():
            reasons.append("no node reports a model; see `cognitive register`")
        return reasons

    async def _status(self) -> dict[str, Any]:
        pools: list[dict[str, Any]] | None = None
        with suppress(RayError):
            pools = await self.router.apools()
        return {
            "service": "chat",
            "router": self.arguments.router,
            "pools": pools,
            "policy": self.arguments.policy,
            "context": self.arguments.context,
            "timeout": self.settings.timeout,
            "in_flight": self.settings.in_flight,
            "authenticated": self.settings.token is not None,
        }


async def _asked(method: Any) -> Any:
    return await method.remote()


async def _lines(begun: list[bytes | Done], rest: AsyncGenerator[bytes | Done, None]) -> AsyncIterator[bytes]:
    """The events of an answer, the last of which says that it is whole or why it is not."""
    async with aclosing(rest):
        try:
            yield b"".join(map(_line, begun))
            async for event in rest:
                yield _line(event)
        except (LlamaError, DoesNotFit, ModelUnfit) as error:
            refused = refusal(error)
            told = {"message": str(refused), "type": type(error).__name__, "code": refused.status}
            yield b"data: " + json.dumps({"error": told}).encode() + b"\n\n"


def _line(event: bytes | Done) -> bytes:
    return _ENDED if isinstance(event, Done) else b"data: " + event + b"\n\n"


def refusal(error: Exception) -> Refused:
    """What a fault of a model server means to a client."""
    match error:
        case ModelUnknown():
            return Refused(404, str(error))
        case ModelUnfit():
            return Refused(422, str(error))
        case RequestRefused():
            return Refused(error.status, str(error))
        case PoolBusy():
            return Refused(429, str(error), {"Retry-After": str(RETRY_SECONDS)})
        case DeadlineExceeded():
            return Refused(504, str(error))
        case DoesNotFit():
            return Refused(503, "; ".join([str(error), *getattr(error, "__notes__", ())]))
        case CoordinatorFailed():
            return away(str(error))
    return Refused(500, "a fault of this service; its log has it under the request's id")


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, as a Serve configuration names it: ``cognitive_actors.serve.chat:build``.

    arguments: as :class:`ChatArguments` has them. Raises ValueError for others.
    """
    return deployed(Chat, ChatArguments.model_validate(arguments))
