"""The ``cognitive`` command."""

from __future__ import annotations

import sys

from . import attempts


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["run"]:
        attempts.begin()
    try:
        # Importing takes seconds, in which a Ctrl-C should end without a traceback.
        from .app import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        attempts.say("ended")


__all__ = ["main"]
