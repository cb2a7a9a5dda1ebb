"""What all tests share: the example files, their model, and one embedded Ray that is started once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.files import load_model

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
