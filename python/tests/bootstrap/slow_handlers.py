"""A handler that does not end by itself, as dispatchers import it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cognitive_actors.dispatch import Claim


def begins(claim: Claim) -> Any:
    """Says in a file that it has begun, and goes on for longer than any test."""
    Path(claim.payload).touch()
    time.sleep(600)
