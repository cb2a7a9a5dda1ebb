"""``/``: a page on which people see the organism live. It shows what is read without a token, and changes nothing."""

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from ray import serve

from .application import application, deployed, ready
from .arguments import PopulationArguments
from .problems import Refused
from .settings import ServiceSettings
from .sight import Sight
from .viewers import STREAM_SECONDS, Stream, Viewers

#: Of the files beside the page: everything that a browser is sent.
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: What the page may do: nothing but load its own files and ask this host. Nor can its script make markup of text.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Kept, and asked for anew each time: after an upgrade the files belong together.
    "Cache-Control": "no-cache",
}


class PageArguments(PopulationArguments):
    """``args`` of the application: those of ``/cognitive`` that say which agents. The page asks ``/organism`` of the
    same host for single agents."""


class Page:
    """The service in one process. It keeps nothing but who watches."""

    def __init__(self, arguments: PageArguments) -> None:
        self.settings = ServiceSettings.read()
        self.population = arguments.shared(makes=False)
        # A quarter of what the replica works on is left for the page itself, its files and its documentation.
        self.viewers = Viewers(Sight(self.population).look, max(1, self.settings.in_flight * 3 // 4))
        self.files = _files()

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = application("page", "A page that shows all agents together, live.", self.settings)

        @app.get("/", include_in_schema=False)
        async def page(request: Request) -> Response:
            return self._file("page.html", request)

        @app.get("/files/{name}", include_in_schema=False)
        async def file(name: str, request: Request) -> Response:
            return self._file(name, request)

        @app.get("/events", include_in_schema=False)
        async def events() -> Response:
            return Stream(self.viewers)

        @app.get("/ready", tags=["health"])
        async def is_ready() -> JSONResponse:
            """Whether somebody else can watch; 503 with the reason where not. That there are no agents, it shows."""
            return ready([reason for reason in (self.viewers.full,) if reason is not None])

        @app.get("/status", tags=["health"])
        async def status() -> dict[str, Any]:
            """Which agents are shown, who watches in this replica, and the limits in force."""
            return self._status()

        return app

    def _file(self, name: str, request: Request) -> Response:
        if name not in self.files:
            raise Refused(404, f"the page has no file {name!r}")
        kind, content, tag = self.files[name]
        headers = {**HEADERS, "ETag": tag}
        known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
        if tag in known:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)

    def _status(self) -> dict[str, Any]:
        return {
            "service": "page",
            "model": self.population.model.name,
            "actor": self.population.name,
            "viewers": self.viewers.present,
            "places": self.viewers.places,
            "stream": STREAM_SECONDS,
            "timeout": self.settings.timeout,
            "in_flight": self.settings.in_flight,
        }


def _files() -> dict[str, tuple[str, bytes, str]]:
    """Media type, content and tag of each file of the page, by name."""
    found = {}
    for file in files(__package__).joinpath("page_files").iterdir():
        kind = KINDS.get(file.name[file.name.rfind(".") :])
        if kind is not None:
            content = file.read_bytes()
            found[file.name] = (kind, content, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, as a Serve configuration names it: ``cognitive_actors.serve.page:build``.

    arguments: as :class:`PageArguments` has them. Raises ValueError for others.
    """
    return deployed(Page, PageArguments.model_validate(arguments))
