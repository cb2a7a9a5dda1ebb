"""What clients are told when something is wrong: problem details (RFC 9457), and never a trace."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from ray.exceptions import RayError, RayTaskError
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from ..cluster import ClusterError
from ..files.errors import InputError
from ..files.store import StaleWriter, StoreUnavailable
from .refused import RETRY_SECONDS, Refused, away

__all__ = ["MEDIA_TYPE", "RETRY_SECONDS", "Problem", "Refused", "away", "handle", "refusal", "request_id", "response"]

logger = logging.getLogger("ray.serve")
MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """A problem as RFC 9457 has it. request_id: under which the logs know the request."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str | None = None
    errors: list[dict[str, Any]] = Field(default_factory=list)


def response(refused: Refused, request_id: str | None, errors: list[dict[str, Any]] | None = None) -> JSONResponse:
    """The problem as a response."""
    problem = Problem(
        title=HTTPStatus(refused.status).phrase,
        status=refused.status,
        detail=str(refused),
        request_id=request_id,
        errors=errors or [],
    )
    body = problem.model_dump(exclude_defaults=True)
    return _Ascii(body, refused.status, headers=refused.headers, media_type=MEDIA_TYPE)


class _Ascii(JSONResponse):
    """JSON that can repeat whatever a client has sent, also half a character."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode("ascii")


def refusal(error: Exception) -> Refused:
    """What an error means to a client. Faults of the service itself say nothing of their inside."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        error = error.cause
    if isinstance(error, Refused):
        return error
    if isinstance(error, HTTPException):
        return Refused(error.status_code, str(error.detail), error.headers)
    if isinstance(error, InputError):
        return Refused(422, str(error))
    if isinstance(error, StoreUnavailable):
        return away("the store of checkpoints does not answer at the moment; try again")
    if isinstance(error, StaleWriter):
        return away("the actor that was asked has been replaced by another one; try again")
    if isinstance(error, (ClusterError, RayError)) and not isinstance(error, RayTaskError):
        return away("the actor that this service asks is not there at the moment; try again")
    return Refused(500, "a fault of this service; its log has it under the request's id")


def handle(app: FastAPI) -> None:
    """Answer every error of an application by a problem."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        refused = refusal(error)
        if isinstance(error, HTTPException) and refused.status == 405:
            refused.headers |= {"Allow": _allowed(app, request)}
        if refused.status >= 500:
            logger.error("%s %s: %s", request.method, request.url.path, refused, exc_info=error)
        return response(refused, request_id(request.scope))

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        found = [{"where": list(e["loc"]), "what": e["msg"]} for e in error.errors()]
        first = found[0]
        where = ".".join(str(step) for step in first["where"])
        return response(Refused(422, f"{where}: {first['what']}"), request_id(request.scope), found)

    for kind in (Refused, HTTPException, InputError, ClusterError, RayError, Exception):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(RequestValidationError, invalid)


def _allowed(app: FastAPI, request: Request) -> str:
    """Methods of a place. Starlette knows those of its first route, and each operation is a route."""
    routes = [route for route in app.routes if isinstance(route, Route)]
    first = next((route for route in routes if route.matches(request.scope)[0] is not Match.NONE), None)
    same = [route.methods or set() for route in routes if first is not None and route.path == first.path]
    return ", ".join(sorted(set().union(*same)))


def request_id(scope: Mapping[str, Any]) -> str | None:
    """The id that Serve's proxy gave a request, or took from its X-Request-ID."""
    for name, value in scope.get("headers", ()):
        if name == b"x-request-id":
            return str(value.decode("latin-1"))
    return None
