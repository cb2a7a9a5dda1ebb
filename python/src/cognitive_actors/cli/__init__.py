"""The ``cognitive`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    try:
        # Importing takes seconds, in which a Ctrl-C should end without a traceback.
        from .app import main as command
    except KeyboardInterrupt:
        sys.exit(130)
    command()


__all__ = ["main"]
