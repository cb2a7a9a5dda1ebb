"""`python tests/containers SCENARIO…`: see `--help`."""

from __future__ import annotations

import sys
from pathlib import Path

# A folder that is run has no package of its own; its parent makes it the package `containers`, as the tests have it.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from containers.command import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
