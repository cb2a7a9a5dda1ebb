"""The name that a client gives a change, so that it is made once however often it is sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

from .application import answers

#: As in the draft of the IETF, "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header).
Once = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=100,
        description="A name of the change: where it comes again it is not made again, and answered as then.",
    ),
]
#: Of an operation that takes a stimulus under such a name.
TAKEN = answers(
    _409="The stimulus is older than the last one of its agent; or the Idempotency-Key was another stimulus', or its"
    " answer is no longer kept."
)
