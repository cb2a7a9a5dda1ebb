"""What can be wrong with a file, in words that say what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Longer words are not compared with those that are known.
_COMPARED = 200


class InputError(ValueError):
    """An input file that cannot be read at all. The message names the file and the remedy."""


class CheckpointError(ValueError):
    """A checkpoint that must not be restored. The message names the file and the remedy."""


def suggestion(word: object, known: Iterable[str]) -> str:
    """The known words to choose from, the closest one first where there is one: for the end of an error."""
    choices = list(known)
    text = str(word)
    # Comparing long texts takes time that grows with the product of their lengths.
    close = difflib.get_close_matches(text, choices, n=1, cutoff=0.6) if len(text) <= _COMPARED else []
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(repr(choice) for choice in choices[:12])
    return f"write one of {shown}{', …' if len(choices) > 12 else ''}"
