"""Numbers as JSON has them: there 3.0 is an integer, and true is none."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


#: An integer of a strict model.
Whole = Annotated[int, BeforeValidator(_whole)]
