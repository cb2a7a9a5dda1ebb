"""Configurations of Ray Serve, in its own format (serveConfigV2): the services of this package, or a file of yours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeApplicationSchema, ServeDeploySchema

#: Modules of this package. The first is for people, and has the place of no name: see ``prefix``.
SERVICES = ("page", "cognitive", "organism", "pipeline", "state", "ml", "energy")
#: Language models by OpenAI's interface, which is at /v1: only where there are any.
CHAT = "chat"
#: Those that are given a generative model.
THINKING = ("page", "cognitive", "organism", "pipeline", "ml", "energy")
#: Replicas of a service, by the requests that wait for each.
AUTOSCALING = {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 16}
#: Of the page, where a viewer is a request that lasts and costs little: fewer than a replica has places for.
WATCHING = {**AUTOSCALING, "target_ongoing_requests": 32}


def bundled(
    host: str = "127.0.0.1",
    port: int = 8000,
    model: str | None = None,
    *,
    chat: bool = False,
    language: str | None = None,
) -> ServeDeploySchema:
    """All services of this package. model: path of the generative model, the umbrella example without one; chat:
    language models as well; language: that of them which puts cycles into words."""
    names = (*SERVICES, CHAT) if chat else SERVICES
    thinking = {} if model is None else {"model": model}
    arguments = dict.fromkeys(THINKING, thinking)
    if language is not None:
        arguments["cognitive"] = {**thinking, "language": language}
    return validated(
        {
            "proxy_location": "EveryNode",
            "http_options": {"host": host, "port": port},
            "applications": [_service(name, arguments.get(name, {})) for name in names],
        },
        "the services of this package",
    )


def prefix(name: str) -> str:
    """Path of a service of this package: its name, but for ``/`` of the page and ``/v1`` of language models."""
    return {"page": "/", CHAT: "/v1"}.get(name, f"/{name}")


def is_page(application: ServeApplicationSchema) -> bool:
    """Whether an application is what people look at, and not what programs ask."""
    return bool(application.import_path == _import_path("page"))


def read(path: Path) -> ServeDeploySchema:
    """A configuration from a YAML or JSON file. Raises ValueError where it is none, OSError where it cannot be read."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}; write YAML, as `serve build` does") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} has no `applications:`; write a configuration of Ray Serve, as `serve build` does")
    return validated(content, str(path))


def validated(content: dict[str, Any], source: str) -> ServeDeploySchema:
    """The configuration. Raises ValueError with the place of the first mistake."""
    try:
        return ServeDeploySchema.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"]) or "the whole"
        raise ValueError(f"{source}: {where}: {first['msg']}") from None


def _service(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": prefix(name),
        "import_path": _import_path(name),
        "args": arguments,
        "deployments": [
            {
                "name": name.capitalize(),
                "autoscaling_config": WATCHING if name == "page" else AUTOSCALING,
                "ray_actor_options": {"num_cpus": 0.1},
            }
        ],
    }


def _import_path(name: str) -> str:
    return f"cognitive_actors.serve.{name}:build"
