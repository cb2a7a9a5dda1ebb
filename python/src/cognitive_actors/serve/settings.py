"""What services are told by their environment: limits, and the token that they ask for."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: The file with the services' own token. Without it they ask for the cluster's, where the cluster has one.
TOKEN_FILE = "COGNITIVE_TOKEN_FILE"


@dataclass(frozen=True)
class ServiceSettings:
    """timeout: seconds until a request is given up; in_flight: requests that a replica works on at a time; body: bytes
    that a request may have; token: what a request that changes something must present, None for nobody asks."""

    timeout: float = 8.0
    in_flight: int = 64
    body: int = 1 << 20
    token: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> ServiceSettings:
        """From COGNITIVE_TIMEOUT_S, COGNITIVE_MAX_INFLIGHT, COGNITIVE_MAX_BODY and the token's place.

        Raises ValueError for a number out of its range, and for a token that is announced and not there.
        """
        return cls(
            timeout=_number(environ, "COGNITIVE_TIMEOUT_S", cls.timeout, least=0.001),
            in_flight=int(_number(environ, "COGNITIVE_MAX_INFLIGHT", cls.in_flight, least=1)),
            body=int(_number(environ, "COGNITIVE_MAX_BODY", cls.body, least=1)),
            token=_token(environ),
        )


def _number(environ: Mapping[str, str], name: str, default: float, least: float) -> float:
    text = environ.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not least <= number < math.inf:
        raise ValueError(f"{name} is {text!r}; write a number, {least:g} or more")
    return number


def _token(environ: Mapping[str, str]) -> str | None:
    place, given = environ.get(TOKEN_FILE), None
    if not place and environ.get("RAY_AUTH_MODE") == "token":
        given, place = environ.get("RAY_AUTH_TOKEN"), environ.get("RAY_AUTH_TOKEN_PATH")
        if not given and not place:
            return None  # Ray made one for this process alone.
    if given is None and place:
        try:
            given = Path(place).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"the token of the services cannot be read: {error}; see {TOKEN_FILE}") from None
    if given is None:
        return None
    if not given.strip():
        raise ValueError(f"the token of the services is empty; write one into the file that {TOKEN_FILE} names")
    return given.strip()
