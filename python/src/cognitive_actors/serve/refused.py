"""What a service says where it does not do what it was asked; needs none of the packages that serving needs."""

from __future__ import annotations

from collections.abc import Mapping

RETRY_SECONDS = 1


class Refused(Exception):
    """A request that is answered by a problem: status, what is wrong, and headers beside it."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.headers = status, dict(headers or {})


def away(detail: str) -> Refused:
    """A service that will be there again: 503."""
    return Refused(503, detail, {"Retry-After": str(RETRY_SECONDS)})
