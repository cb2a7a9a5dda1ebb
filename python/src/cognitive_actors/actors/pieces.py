"""Arguments of actors that outlive whoever made them, in pieces that Ray keeps with the actor.

Ray leaves an argument of more than 100 KiB in the object store, where it belongs to the process that made the actor:
when that has ended, the actor cannot be started again. Smaller ones are kept with the actor, 10 MiB of them together.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

#: Bytes of a piece, with room for what Ray adds. A choice.
_PIECE = 64 * 1024


def in_pieces(value: Any) -> list[bytes]:
    """A value as pieces, each of which is to be an argument of its own."""
    whole = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    return [whole[begin : begin + _PIECE] for begin in range(0, len(whole), _PIECE)]


def joined(pieces: Sequence[bytes]) -> Any:
    """The value of all pieces, as whoever made the actor had it."""
    return pickle.loads(b"".join(pieces))
