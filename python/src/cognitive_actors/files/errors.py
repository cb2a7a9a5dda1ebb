"""What can be wrong with a file, in words that say what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """An input file that cannot be read at all. The message names the file and the remedy."""


class CheckpointError(ValueError):
    """A checkpoint that must not be restored. The message names the file and the remedy."""


def suggestion(word: object, known: Iterable[str]) -> str:
    """The known words to choose from, the closest one first where there is one: for the end of an error."""
    choices = list(known)
    close = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(repr(choice) for choice in choices[:12])
    return f"write one of {shown}{', …' if len(choices) > 12 else ''}"
