"""Agents of a roster as they were before a chunk, so that a chunk that could not be saved can be undone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ..core import batched
from ..core.cycle import Population
from ..core.roster import Roster


@dataclass(frozen=True)
class KeptAgents:
    """Copies of a few agents of a roster, which changes its state in place. count: how many agents it had; rows: int64
    (k,), which of them are kept; state: theirs."""

    count: int
    rows: Tensor
    state: Population

    @classmethod
    def of(cls, roster: Roster, names: Iterable[str]) -> Self:
        """The agents of these names, those that are not in the roster yet aside."""
        rows = sorted({roster.rows[name] for name in names if name in roster.rows})
        index = torch.tensor(rows, dtype=torch.int64, device=roster.cycle.model.device)
        return cls(len(roster), index, batched.take(roster.population, index))

    def put_back(self, roster: Roster) -> None:
        """Undo what happened to these agents since, and forget those that joined."""
        while len(roster.rows) > self.count:
            roster.rows.popitem()
        first = torch.arange(self.count, device=self.rows.device)
        population = batched.take(roster.population, first)
        batched.put_(population, self.rows, self.state)
        roster.population = population
