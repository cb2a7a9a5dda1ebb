"""What may go wrong with a model server, as its callers see it. All of them survive a way through Ray."""

from __future__ import annotations

__all__ = ["CoordinatorFailed", "DeadlineExceeded", "LlamaError", "ModelUnknown", "PoolBusy", "RequestRefused"]


class LlamaError(Exception):
    """Something about a model server."""


class CoordinatorFailed(LlamaError):
    """A coordinator did not start, ended or does not answer.

    why: in words; suspects: endpoints of RPC servers that were found at fault, none where it is the coordinator itself.
    """

    def __init__(self, why: str, suspects: tuple[str, ...] = ()) -> None:
        super().__init__(why, suspects)
        self.why, self.suspects = why, suspects

    def __str__(self) -> str:
        return self.why + (f" (at fault: {', '.join(self.suspects)})" if self.suspects else "")


class DeadlineExceeded(LlamaError):
    """The answer was not complete in the time that its caller gave. The server itself is well."""


class ModelUnknown(LlamaError):
    """No node that reports has a model of this name."""


class PoolBusy(LlamaError):
    """As many requests wait as may wait. waiting: how many; nothing was done."""

    def __init__(self, waiting: int) -> None:
        super().__init__(waiting)
        self.waiting = waiting

    def __str__(self) -> str:
        return f"{self.waiting} requests wait already; ask again later"


class RequestRefused(LlamaError):
    """llama-server refuses a request, and is well. status: of HTTP, 400 or more; why: what it says."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(status, why)
        self.status, self.why = status, why

    def __str__(self) -> str:
        return self.why
