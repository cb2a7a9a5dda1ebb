"""Makes the token of a cluster where there is none yet: `make_token.py FILE`."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path


def make_token(path: Path) -> bool:
    """Write a new token of 256 bits to path, readable by owner and group, unless one is there; whether it was written.

    It appears whole or not at all, and never over another one: two starts at once agree on the same token.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fchmod(file.fileno(), 0o640)
            os.fsync(file.fileno())
        os.link(new, path)
    except FileExistsError:
        return False
    finally:
        new.unlink()
    return True


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_token.py FILE")
    if make_token(Path(sys.argv[1])):
        print(f"made a token for this cluster: {sys.argv[1]}")
