"""Answers by request: a request that comes a second time gets the answer of the first, and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from .roster import pack_names, unpack_names

#: Characters (ASCII) of the answers that are kept; the identities of older ones stay known without them. A choice.
ROOM = 1 << 20


@dataclass(frozen=True)
class Answers:
    """The last ``kept`` requests with their answers as text, oldest first; None for an answer no longer kept.

    room: characters of all answers together; the last one is kept even if it is longer.
    """

    kept: int = 1024
    texts: Mapping[str, str | None] = field(default_factory=dict)
    room: int = ROOM

    def __contains__(self, request: str) -> bool:
        return request in self.texts

    def text(self, request: str) -> str:
        """The answer to a request that is known. Raises LookupError where it is no longer kept."""
        text = self.texts[request]
        if text is None:
            raise LookupError(
                f"request {request!r} has been applied already, and its answer is no longer kept; read the state"
            )
        return text

    def having(self, request: str, text: str, parts: Mapping[str, str] | None = None) -> Answers:
        """These and one more, with what is said to requests that are parts of it; the oldest make room for them."""
        texts = {**self.texts, **(parts or {}), request: text}
        for oldest in list(texts)[: max(0, len(texts) - self.kept)]:
            del texts[oldest]
        size = sum(len(x) for x in texts.values() if x is not None)
        for old, x in texts.items():
            if size <= self.room or old == request:
                break
            if x is not None:
                size -= len(x)
                texts[old] = None
        return replace(self, texts=texts)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Requests and answers as arrays of bytes and lengths; the length of an answer no longer kept is -1."""
        requests, answers = pack_names(list(self.texts)), pack_names([x or "" for x in self.texts.values()])
        gone = np.array([x is None for x in self.texts.values()], dtype=bool)
        return {
            "requests": requests["names"],
            "request_lengths": requests["name_lengths"],
            "answers": answers["names"],
            "answer_lengths": np.where(gone, -1, answers["name_lengths"]),
        }

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Answers:
        """The inverse of :meth:`to_arrays`, with this object's bound. Raises ValueError where they do not fit."""
        requests = unpack_names({"names": arrays["requests"], "name_lengths": arrays["request_lengths"]})
        lengths = arrays["answer_lengths"]
        answers = unpack_names({"names": arrays["answers"], "name_lengths": np.maximum(lengths, 0)})
        known = zip(requests, answers, (lengths < 0).tolist(), strict=True)
        texts = {request: None if gone else answer for request, answer, gone in known}
        return replace(self, texts=dict(list(texts.items())[-self.kept :]))
