"""What ``/v1`` takes and says: OpenAI's chat completions, as far as llama.cpp has them.

Named as in OpenAI's API reference, "Create chat completion". Members that are not here are taken and not looked at, as
clients send many.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

__all__ = ["ChatCompletion", "ChatRequest", "Message", "Model", "Models"]


class Message(BaseModel):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class StreamOptions(BaseModel):
    """include_usage: a last chunk says how many tokens there were."""

    include_usage: bool = False


class ChatRequest(BaseModel):
    """A conversation to be continued. model: as ``/v1/models`` names it; max_completion_tokens: before max_tokens,
    which means the same."""

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2.0, le=2.0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2.0, le=2.0)] | None = None
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] | None = None
    stop: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(max_length=4)] | None = None

    def parameters(self) -> dict[str, Any]:
        """What the model server is asked for, without what is not said."""
        said = self.model_dump(exclude_none=True, exclude={"model", "stream", "max_completion_tokens"})
        if self.max_completion_tokens is not None:
            said["max_tokens"] = self.max_completion_tokens
        return said


class Answer(BaseModel):
    """What the model says."""

    role: str
    content: str | None = None


class Choice(BaseModel):
    """The one answer. finish_reason: ``stop``, or ``length`` where it was cut off."""

    index: int
    message: Answer
    finish_reason: str | None = None


class Usage(BaseModel):
    """Tokens that were read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """A whole answer."""

    id: str
    object: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage


class Model(BaseModel):
    """A model that can be asked for. owned_by: nodes that have it."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = ""


class Models(BaseModel):
    """All of them."""

    object: str = "list"
    data: list[Model]
