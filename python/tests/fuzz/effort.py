"""How much is tried: a little and always the same by default, more and always other where the environment asks."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

#: Examples of each test, each time other ones: COGNITIVE_FUZZ=20000 for a night.
ASKED = int(os.environ.get("COGNITIVE_FUZZ", "0"))


def effort(examples: int) -> settings:
    """The decorator of a test that tries so many examples by default."""
    return settings(
        max_examples=ASKED or examples,
        derandomize=not ASKED,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
