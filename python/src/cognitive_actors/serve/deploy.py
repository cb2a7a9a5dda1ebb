"""Bringing applications up on the connected cluster, and knowing when they are."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from ray import serve
from ray.serve._private.api import serve_start
from ray.serve.config import gRPCOptions
from ray.serve.schema import ApplicationStatus, ServeDeploySchema

POLL_SECONDS = 0.2
_FAILED = (ApplicationStatus.DEPLOY_FAILED, ApplicationStatus.UNHEALTHY)


class DeployError(RuntimeError):
    """Applications that do not come up. The message says which, and why."""


def deploy(
    config: ServeDeploySchema, deadline: float = 300.0, watch: Callable[[dict[str, str]], None] | None = None
) -> None:
    """Make the configuration the one that is served; applications that it does not have are taken down.

    Returns when all are running. watch: told the state of each application by name, now and again. Raises DeployError
    if one fails, or does not come up within ``deadline`` seconds.
    """
    client = serve_start(
        http_options=config.http_options.model_dump(),
        proxy_location=config.proxy_location,
        grpc_options=gRPCOptions(**config.grpc_options.model_dump()),
    )
    client.deploy_apps(config, _blocking=False)
    names = {application.name for application in config.applications}
    end = time.monotonic() + deadline
    while True:
        found = {name: each for name, each in serve.status().applications.items() if name in names}
        if watch is not None:
            watch({name: each.status.value for name, each in found.items()})
        for name, each in found.items():
            if each.status in _FAILED:
                said = [deployment.message for deployment in each.deployments.values()]
                raise DeployError(f"application {name!r} is {each.status.value}: {_reason(*said, each.message)}")
        running = {name for name, each in found.items() if each.status == ApplicationStatus.RUNNING}
        if running == names:
            return
        if time.monotonic() > end:
            raise DeployError(
                f"{', '.join(sorted(names - running))} did not come up within {deadline:g} s; the cluster may have no"
                " room: see `cognitive status` and the dashboard"
            )
        time.sleep(POLL_SECONDS)


def _reason(*messages: str) -> str:
    """The line of Serve's messages that says what was raised: they have the whole trace."""
    for message in messages:
        lines = [line.strip() for line in message.splitlines() if line.strip()]
        raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        if lines:
            return (raised or lines)[-1]
    return "Serve does not say why"
