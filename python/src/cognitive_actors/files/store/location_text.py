"""URLs as they may be shown."""

from __future__ import annotations

import re

# To the last "@", so that a password that holds "@" or "/" is covered as well.
_USER = re.compile(r"(?<=://).*@", re.DOTALL)
_SECRET = re.compile(r"(?i)([?&][^=&#]*(?:pass|secret|token|key)[^=&#]*=)[^&#]*")


def without_password(url: str) -> str:
    """A URL without what it says of user, password and other secrets."""
    return _SECRET.sub(r"\1...", _USER.sub("...@", url))
