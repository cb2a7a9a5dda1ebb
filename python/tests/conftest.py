"""What all tests share: the example files, their model, and one embedded Ray that is started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings

from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.files import load_model

# How long an example takes is no property of what is tested, and not the same on every machine.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
# As in the actors: threads of several processes would fight for the cores.
torch.set_num_threads(1)

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the example data that is shipped."""
    return EXAMPLES


@pytest.fixture(scope="session")
def model() -> GenerativeModel:
    """The umbrella model: modalities weather (5 outcomes), temperature (3), wind (3) and comfort (3)."""
    return load_model(EXAMPLES / "umbrella.yaml")


@pytest.fixture(scope="session")
def embedded_ray() -> Iterator[None]:
    """This process connected to a Ray of its own with two CPUs."""
    # Not at the top: tests of the core know no Ray.
    import ray

    from cognitive_actors.cluster import ensure_ray_initialized

    ensure_ray_initialized("local", num_cpus=2)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a tiny language model with weights of chance, always the same, that llama.cpp loads and runs. Its
    answers may be long: llama-server ends them at the model's own context.
    """
    from tiny_gguf import tiny_tensors, write_gguf

    return write_gguf(tmp_path_factory.mktemp("models") / "tiny.gguf", tiny_tensors(), {"context_length": 1 << 17})


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A PostgreSQL server that tests share; each empties it."""
    from postgres_server import postgres_server

    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of durable tasks with none in it, in each kind of store."""
    from postgres_server import emptied

    if request.param == "sqlite":
        return str(tmp_path / "tasks.db")
    return emptied(request.getfixturevalue("postgres"))


@pytest.fixture
def store(place: str) -> Iterator[Any]:
    """A store with no tasks, reached by this process itself."""
    from cognitive_actors.dispatch import SqlTaskStore

    opened = SqlTaskStore(place)
    yield opened
    opened.close()


@pytest.fixture
def owner() -> Any:
    """Who claims tasks."""
    from cognitive_actors.dispatch import Owner

    return Owner("one", "1")


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The services of this package with their agents, started by their command once for all tests."""
    from served import initialised, serving

    with serving(tmp_path_factory.mktemp("served")) as running:
        initialised(running.client)
        yield running
