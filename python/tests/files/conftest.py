"""A small model that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.files import load_model

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the example data that is shipped."""
    return EXAMPLES


@pytest.fixture(scope="session")
def model() -> GenerativeModel:
    """The umbrella model: modalities weather (5 outcomes), temperature (3), wind (3) and comfort (3)."""
    return load_model(EXAMPLES / "umbrella.yaml")
