"""A counter-based random generator: the number drawn depends on who draws it and when, never on the batch.

``Philox(seed).uniform(agents, step, purpose)`` gives the same numbers, to the bit, whether a thousand agents are
stepped at once, one by one, on one machine or on ten, and again after a retry. So chance makes no difference between
online, streaming and batch runs, and a repeated call is harmless.

Source: Salmon, Moraes, Dror and Shaw 2011, Parallel random numbers: as easy as 1, 2, 3 (SC'11): Philox4x32-10.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_MASK = 0xFFFFFFFF
_ROUNDS = 10
#: Draws for one purpose in one step: they share a word of the counter with the purpose.
_INDICES = 1 << 24


class Purpose(IntEnum):
    """What a number is drawn for, so that two draws of one agent in one step are independent."""

    ACTION = 0
    ENVIRONMENT = 1
    OUTCOME = 2


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Ten Philox rounds over four counters (int64 tensors of one shape, holding 32-bit words) -> four such words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # The product wraps in int64, but its 64 bits are those of the unsigned product.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Philox:
    """An explicit, stateless generator. ``seed`` is any whole number below 2**64."""

    seed: int = 0

    def uniform(self, agents: Tensor, step: Tensor | int, purpose: Purpose, index: int = 0) -> Tensor:
        """Uniform numbers in [0, 1), float64, one per agent.

        agents: int64 (N,), the agents' own numbers; step: int64 scalar or (N,), the agents' own step counts (below
        2**32, where they begin anew); index: which of several draws for the same purpose, below 2**24.
        Raises ValueError for an index out of that range, as it would repeat the draws for another purpose.
        """
        if not 0 <= index < _INDICES:
            raise ValueError(f"index is {index}; write a number from 0 to {_INDICES - 1}")
        agents = agents.to(torch.int64)
        steps = torch.as_tensor(step, dtype=torch.int64, device=agents.device).expand_as(agents)
        words = philox4x32(
            (
                agents & _MASK,
                (agents >> 32) & _MASK,
                steps & _MASK,
                torch.full_like(agents, int(purpose) * _INDICES + index),
            ),
            (self.seed & _MASK, (self.seed >> 32) & _MASK),
        )
        # 53 bits of two words, as float64 holds them exactly.
        return ((words[0] >> 5) * 67108864 + (words[1] >> 6)).to(torch.float64) / 9007199254740992.0
