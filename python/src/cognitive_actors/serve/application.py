"""A FastAPI application as all services are: guarded, its errors problems, its health known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from .. import __version__
from . import problems
from .guard import Guard
from .settings import ServiceSettings

F = TypeVar("F", bound=Callable[..., Any])
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


def application(name: str, description: str, settings: ServiceSettings) -> FastAPI:
    """An application without its routes."""
    app = FastAPI(title=name, description=description, version=__version__, responses=RESPONSES)
    app.state.settings = settings
    app.add_middleware(Guard, settings=settings)
    problems.handle(app)

    @app.get("/health", tags=["health"])
    async def health() -> Health:
        """Whether the process answers."""
        return Health()

    return app


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
