"""``/state``: keys and values with one version for all, that many read and change without losing a change."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Path, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from ray import serve
from ray.exceptions import RayError

from ..actors.shared_state import Room
from .application import UNAUTHORIZED, Responses, answers, application, deployed, ready
from .guard import CHANGES
from .json_values import CHARACTERS, text_of
from .named import STATE, SharedState
from .once import Once
from .problems import Refused
from .settings import ServiceSettings

#: Seconds that the owner is given to say that it is there.
READY_SECONDS = 2.0
#: Places of the service itself, that no key can have.
RESERVED = ("health", "ready", "status", "docs", "redoc", "openapi.json")
#: Keys that a change may name.
MOST_KEYS = 1000
_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$"
_SCHEMA = {"type": "string", "pattern": _PATTERN, "not": {"enum": list(RESERVED)}}
_KEYED = {"type": "object", "propertyNames": _SCHEMA, "maxProperties": MOST_KEYS}
Key = Annotated[str, Field(pattern=_PATTERN), WithJsonSchema(_SCHEMA)]
_TAG = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')

IfMatch = Annotated[str | None, Header(description="Entity tags, of which what is changed must have one.")]
IfNoneMatch = Annotated[str | None, Header(description="Entity tags that it must not have; `*` for any.")]
MISSING, GONE = answers(_404="There is no such key."), answers(_410="What changed since then is not known any more.")
CONFLICT = answers(
    _405="The key is a place of the service itself.",
    _409="The Idempotency-Key was another change's, or the change has been made and its answer is no longer kept.",
    _412="It is not, or no longer, what the change was made for.",
)
SAME: Responses = {304: {"description": "It is what the client knows."}}


class StateArguments(BaseModel):
    """``args`` of the application. actor: name of the actor that owns the state."""

    model_config = ConfigDict(extra="forbid")

    actor: str = Field(STATE, min_length=1)


class Values(BaseModel):
    """The state, or what is new since a version of it, with the keys deleted since. ``version`` counts all changes of
    an ``epoch``; ``age``: seconds since the last."""

    epoch: str
    version: int
    age: float
    values: dict[str, Any]
    deleted: list[str]


class Value(BaseModel):
    """One value, and the version that brought it."""

    key: str
    value: Any
    epoch: str
    version: int


class NewValue(BaseModel):
    """A value: any JSON."""

    model_config = ConfigDict(extra="forbid")

    value: Any


class Changes(BaseModel):
    """Keys to set and keys to delete, all or nothing. One to delete that is not there is passed over."""

    model_config = ConfigDict(extra="forbid")

    set: Annotated[dict[Key, Any], WithJsonSchema(_KEYED)] = Field(default_factory=dict, max_length=MOST_KEYS)
    delete: list[Key] = Field(default_factory=list, max_length=MOST_KEYS)


class Changed(BaseModel):
    """What a change came to: the keys set and deleted, and the version that it made."""

    epoch: str
    version: int
    changed: list[str]
    deleted: list[str]


def _key(key: Annotated[str, Path(pattern=_PATTERN)]) -> str:
    if key in RESERVED:
        raise Refused(405, f"{key!r} is a place of this service; choose another key", {"Allow": "GET"})
    return key


Named = Annotated[str, Depends(_key)]


class State:
    """The service in one process, stateless: the state is in an actor of its own."""

    def __init__(self, arguments: StateArguments) -> None:
        self.settings = ServiceSettings.read()
        self.shared = SharedState(arguments.actor)

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = application("state", "Shared keys and values with versions.", self.settings, begin=self._begin)

        @app.get("/ready", tags=["health"])
        async def is_ready() -> JSONResponse:
            """Whether the state can be read; 503 with the reasons where not."""
            return ready(await self.shared.ready(READY_SECONDS))

        @app.get("/status", tags=["health"])
        async def status() -> dict[str, Any]:
            """The actor that owns the state, and the limits in force."""
            return self._status()

        self._add_reads(app)
        self._add_changes(app)
        return app

    def _add_reads(self, app: FastAPI) -> None:
        @app.get("/", response_model=Values, responses=SAME | GONE)
        async def read(
            since: Annotated[int | None, Query(ge=0, description="Only what is new after this version.")] = None,
            epoch: Annotated[str | None, Query(max_length=100, description="That ``since`` counts in.")] = None,
            if_none_match: IfNoneMatch = None,
        ) -> Response:
            """All keys and values. The entity tag names epoch and version."""
            found = await self.shared.ask("read", since=since, epoch=epoch, unless=_tags(if_none_match, weak=True))
            if found["entries"] is None:
                return _unchanged(found)
            values = {key: json.loads(text) for key, (text, _) in found["entries"].items()}
            body = {name: found[name] for name in ("epoch", "version", "age", "deleted")} | {"values": values}
            return JSONResponse(body, headers=_tagged(found))

        @app.get("/{key}", response_model=Value, responses=SAME | MISSING)
        async def read_one(key: Named, if_none_match: IfNoneMatch = None) -> Response:
            """One value. The entity tag names the epoch and the version that brought it."""
            found = await self.shared.ask("read", key, unless=_tags(if_none_match, weak=True))
            if found["entries"] is None:
                return _unchanged(found)
            text, version = found["entries"][key]
            body = {"key": key, "value": json.loads(text), "epoch": found["epoch"], "version": version}
            return JSONResponse(body, headers=_tagged(found))

    def _add_changes(self, app: FastAPI) -> None:
        changing: Any = {"dependencies": CHANGES, "response_model": Changed}

        @app.patch("/", responses=UNAUTHORIZED | CONFLICT, **changing)
        async def change(changes: Changes, if_match: IfMatch = None, once: Once = None) -> JSONResponse:
            """Change several keys at once: one version, or none where anything is refused."""
            for key in (*changes.set, *changes.delete):
                if key in RESERVED:
                    raise Refused(422, f"{key!r} is a place of this service; choose another key")
            both = sorted(changes.set.keys() & set(changes.delete))
            if both:
                raise Refused(422, f"the key {both[0]!r} is to be set and deleted; write it once")
            texts = {key: text_of(value, f"set.{key}") for key, value in changes.set.items()}
            return await self._change(texts, changes.delete, match=_tags(if_match), once=once)

        @app.put("/{key}", responses=UNAUTHORIZED | CONFLICT, **changing)
        async def put(
            key: Named, new: NewValue, if_match: IfMatch = None, if_none_match: IfNoneMatch = None, once: Once = None
        ) -> JSONResponse:
            """Set one value. The entity tag is then the value's."""
            texts, unless = {key: text_of(new.value, "value")}, _tags(if_none_match, weak=True)
            return await self._change(texts, [], key=key, match=_tags(if_match), unless=unless, once=once)

        @app.delete("/{key}", responses=UNAUTHORIZED | CONFLICT | MISSING, **changing)
        async def delete(key: Named, if_match: IfMatch = None, once: Once = None) -> JSONResponse:
            """Delete one key."""
            return await self._change({}, [key], key=key, match=_tags(if_match), once=once)

    async def _begin(self) -> None:
        # That nobody need wait for it later. Where it cannot be now, it is said to who asks.
        with suppress(Refused, RayError):
            await self.shared.ask("ready")

    async def _change(
        self, texts: Mapping[str, str], deletions: list[str], *, once: str | None, **condition: Any
    ) -> JSONResponse:
        request = None if once is None else f"http:{once}"
        found = await self.shared.ask("change", texts, deletions, request=request, **condition)
        body = {name: found[name] for name in ("epoch", "version", "changed", "deleted")}
        return JSONResponse(body, headers=_tagged(found))

    def _status(self) -> dict[str, Any]:
        room = Room()
        return {
            "service": "state",
            "actor": self.shared.name,
            "durable": self.shared.durability is not None,
            "keys": room.keys,
            "characters": room.characters,
            "characters_of_a_value": CHARACTERS,
            "timeout": self.settings.timeout,
            "in_flight": self.settings.in_flight,
            "authenticated": self.settings.token is not None,
        }


def _tags(header: str | None, *, weak: bool = False) -> Any:
    """The entity tags of a header; None without If-Match. One that cannot be read is like no tag."""
    if header is None:
        return [] if weak else None
    if header.strip() == "*":
        return ["*"]
    return [tag for w, tag in _TAG.findall(header) if (weak or not w) and tag != "*"]


def _tagged(found: Mapping[str, Any]) -> dict[str, str]:
    return {} if found["tag"] is None else {"ETag": f'"{found["tag"]}"'}


def _unchanged(found: Mapping[str, Any]) -> Response:
    return Response(status_code=304, headers=_tagged(found))


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, as a Serve configuration names it: ``cognitive_actors.serve.state:build``.

    arguments: as :class:`StateArguments` has them. Raises ValueError for others.
    """
    return deployed(State, StateArguments.model_validate(arguments))
