"""``cognitive serve``: the services over HTTP, from one machine."""

from __future__ import annotations

import json
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..cluster import ClusterError, ensure_ray_initialized
from . import interruption, local_models


def command(
    config: Annotated[
        Path | None,
        typer.Argument(help="Configuration of Ray Serve (YAML); the services of this package if left out."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address that is listened on, where no configuration says.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port, likewise.")] = 8000,
    model: Annotated[Path | None, typer.Option(help="Generative model (YAML or NPZ); the umbrella example.")] = None,
    models: Annotated[
        Path | None,
        typer.Option(help="Folder whose *.gguf are served at /v1, on embedded Ray.", exists=True, file_okay=False),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Of --models, the one that puts cycles into words: /cognitive/words.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster; embedded Ray if none is named or running.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Leave when all is up: on a cluster it goes on without this command.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON where the services are.")] = False,
) -> None:
    """Serve, until Ctrl-C. What listens on other than a loopback address asks for a token.

    Exit code 2 for a configuration that is none, 3 where an application does not come up. With --models the language
    models of a folder are served as well, by llama.cpp's llama-server, which LLAMA_SERVER or PATH name.
    """
    if language is not None and models is None:
        raise ValueError("--language is for the models of a folder; write --models FOLDER beside it")
    if language is not None and config is not None:
        raise ValueError(
            f"--language is for the services of this package; write `language: {language}` into the args of the"
            f" application of cognitive_actors.serve.cognitive:build in {config}"
        )
    # FastAPI is not needed by the other commands, and takes its time.
    try:
        from ..serve import config as configurations
        from ..serve.deploy import DeployError, deploy
    except ImportError as error:
        raise ValueError(f"{error}; install what serving needs: pip install 'cognitive-actors[serve]'") from None
    chosen = (
        configurations.read(config)
        if config
        else configurations.bundled(host, port, _path(model), chat=models is not None, language=language)
    )
    if models is None:
        ensure_ray_initialized(address)
    else:
        # As below.
        with redirect_stdout(sys.stderr):
            local_models.offer(models, address)
    console = Console(stderr=True, quiet=as_json)
    with console.status("starting") as line:

        def show(states: dict[str, str]) -> None:
            interruption.check()
            line.update(", ".join(f"{name} {state.lower()}" for name, state in states.items()) or "starting")

        try:
            # Ray prints to standard output, which is the answer's, what its processes say.
            with redirect_stdout(sys.stderr):
                deploy(chosen, watch=show)
        except DeployError as error:
            raise ClusterError(str(error)) from error
    base = f"http://{chosen.http_options.host}:{chosen.http_options.port}"
    # The page first: that is what a person wants to open.
    found = sorted(chosen.applications, key=lambda application: not configurations.is_page(application))
    places = {application.name: f"{base}{application.route_prefix}" for application in found}
    if as_json:
        print(json.dumps(places), flush=True)
    else:
        for application in found:
            url = places[application.name]
            shown = url if configurations.is_page(application) else f"{url.rstrip('/')}/docs"
            print(f"{application.name}: {shown}", flush=True)
    while not once:
        interruption.check()
        time.sleep(0.2)


def _path(model: Path | None) -> str | None:
    # Replicas have another working directory.
    return None if model is None else str(model.resolve())
