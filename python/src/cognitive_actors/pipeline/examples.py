"""The examples that travel with the package."""

from __future__ import annotations

from pathlib import Path


def example_model() -> Path:
    """The umbrella model: whether to take one, seen from the day's weather."""
    package = Path(__file__).resolve().parent.parent
    # In a wheel the examples lie inside the package, in a checkout beside src.
    for directory in (package / "examples", package.parent.parent / "examples"):
        if (directory / "umbrella.yaml").exists():
            return directory / "umbrella.yaml"
    raise FileNotFoundError("the example model umbrella.yaml is not installed; pass a model of your own")


def example_stimuli() -> Path:
    """Four years of daily weather in Seattle."""
    return example_model().with_name("seattle-weather.jsonl")
