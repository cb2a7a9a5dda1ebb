"""Cycles in words, by a language model that ``/v1`` serves. Before it is asked, nothing of ``llama`` is imported."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from .named import existing
from .problems import Refused, away
from .stimulus import Cycle

if TYPE_CHECKING:
    from ..llama import RayHybridRouter

#: Tokens of an answer at most: two sentences.
TOKENS = 120


class Worded(BaseModel):
    """A cycle, and what a language model says of it. cycle: what ``/advisory`` answers; model: its name."""

    cycle: Cycle
    model: str
    words: str


class Words:
    """A language model by its name, as a router has it that others have made: it is theirs to say what may be loaded.

    language: None where none is named; router: name of the router's actor; seconds: that words may take.
    """

    def __init__(self, language: str | None, router: str, seconds: float) -> None:
        self.language, self.seconds, self._name = language, seconds, router

    def named(self) -> str:
        """The model's name. Raises Refused (404) where none is named."""
        if self.language is None:
            raise Refused(
                404,
                "no language model is named; write `language: NAME` into the args of this application, or run"
                " `cognitive serve --models FOLDER --language NAME`",
            )
        return self.language

    async def say(self, conversation: Sequence[dict[str, str]]) -> str:
        """What the model says to a conversation, the likeliest token each time. Raises Refused as ``/v1`` does."""
        from ..llama import LlamaError
        from ..placement import DoesNotFit, ModelUnfit
        from .chat import refusal

        language, router = self.named(), await self._router()
        try:
            answer = await router.achat(
                language,
                conversation,
                seconds=self.seconds,
                temperature=0.0,
                max_tokens=TOKENS,
                # A model that thinks aloud would be cut off before its first word.
                chat_template_kwargs={"enable_thinking": False},
            )
        except (LlamaError, DoesNotFit, ModelUnfit) as error:
            raise refusal(error) from error
        return str(answer["choices"][0]["message"].get("content") or "")

    async def _router(self) -> RayHybridRouter:
        """The router, found anew each time: it may be another by now. Raises Refused (503) where there is none."""
        from ..llama import RayHybridRouter

        # Made here it would not have the options that its owner's application names.
        if await existing(self._name) is None:
            raise away(
                f"there is no router {self._name!r} of language models; serve cognitive_actors.serve.chat:build, which"
                " makes it, with this name as its `router`"
            )
        return await asyncio.to_thread(RayHybridRouter, name=self._name)
