"""A FastAPI application as all services are: guarded, its errors problems, its health known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from ray import serve
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import __version__
from . import problems
from .guard import Guard
from .settings import ServiceSettings

F = TypeVar("F", bound=Callable[..., Any])
#: Requests that Serve hands to a replica at a time: more than a service itself lets in, so that it is the service that
#: says 429. With fewer, requests wait in the proxy, which asks again after ever longer pauses.
ONGOING = 256
Responses = dict[int | str, dict[str, Any]]


def answers(**descriptions: str) -> Responses:
    """Problems that an operation may answer, for its OpenAPI: ``answers(_409="…")``."""
    content = {problems.MEDIA_TYPE: {"schema": problems.Problem.model_json_schema()}}
    return {int(name[1:]): {"description": what, "content": content} for name, what in descriptions.items()}


RESPONSES = answers(
    _400="The body cannot be read.",
    _413="The body is too large.",
    _422="The request does not say what it must.",
    _429="Too many requests at a time.",
    _503="What the service needs is not there at the moment.",
    _504="No answer within the service's time.",
)
UNAUTHORIZED = answers(_401="The token is missing, or another one.")


class Health(BaseModel):
    """Alive."""

    status: str = "ok"


class Ready(BaseModel):
    """Whether the service can do its work; reasons: why not."""

    ready: bool
    reasons: list[str]


def application(
    name: str,
    description: str,
    settings: ServiceSettings,
    *,
    health: Callable[[], Awaitable[None]] | None = None,
    begin: Callable[[], Awaitable[None]] | None = None,
) -> FastAPI:
    """An application without its routes. health: raises Refused for a service that is more than its process, and not
    well; begin: called once the process serves."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if begin is not None:
            await begin()
        yield

    app = FastAPI(title=name, description=description, version=__version__, responses=RESPONSES, lifespan=lifespan)
    app.state.settings = settings
    app.add_middleware(Guard, settings=settings)
    # Last, and so the first to be passed.
    app.add_middleware(Rooted)
    problems.handle(app)

    @app.get("/health", tags=["health"], description=None if health is None else health.__doc__)
    async def is_well() -> Health:
        """Whether the process answers."""
        if health is not None:
            await health()
        return Health()

    return app


class Rooted:
    """ASGI middleware: a service's own address, without a slash behind it, is that with one, and not sent there."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        if scope["type"] == "http" and scope["path"] in ("", root):
            scope = {**scope, "path": f"{root}/"}
        await self._app(scope, receive, send)


def ready(reasons: list[str]) -> JSONResponse:
    """200 for a service that can do its work, 503 with the reasons otherwise."""
    found = Ready(ready=not reasons, reasons=reasons)
    return JSONResponse(found.model_dump(), 200 if found.ready else 503)


def takes(**types: Any) -> Callable[[F], F]:
    """An operation whose arguments are of types that only the running service knows, such as those of its model."""

    def annotate(operation: F) -> F:
        operation.__annotations__ |= types
        return operation

    return annotate


def deployed(service: type, arguments: BaseModel) -> serve.Application:
    """A service as a Serve application: a deployment of the class's name, which a configuration may change."""
    deployment = serve.deployment(name=service.__name__, max_ongoing_requests=ONGOING)(serve.ingress()(service))
    return deployment.bind(arguments)
