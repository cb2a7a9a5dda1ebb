"""Predicted states and outcomes of all policies at once, sharing every prefix.

Policies of horizon H over U actions have U^H leaves but only U + U^2 + ... + U^H distinct prefixes, and a factor's
state depends on its own actions alone. So each factor f carries U_f^t beliefs at step t (not the product over
factors, and not one per policy), and each modality is predicted for the combinations of the factors it depends on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .model import GenerativeModel

#: Largest matrix that moves a belief through all steps in one product; beyond it, step by step reads less memory.
MAX_ALL_STEPS = 1 << 18


class Transitions:
    """The transitions of one factor, laid out so that one product moves every prefix under every action."""

    def __init__(self, B: Tensor, horizon: int) -> None:
        """B: (batch, next, previous, actions)."""
        self.states, self.actions, self.horizon = B.shape[1], B.shape[3], horizon
        # (batch, previous, actions * next): beliefs in rows on the left make one large product.
        self.matrix = B.permute(0, 2, 3, 1).reshape(B.shape[0], self.states, -1).contiguous()
        self.prefixes = [self.actions**t for t in range(1, horizon + 1)]
        self.all_steps = None
        if B.shape[0] == 1 and self.states**2 * sum(self.prefixes) <= MAX_ALL_STEPS:
            # From the present to every prefix at once: (states, all prefixes * states).
            q = torch.eye(self.states, dtype=B.dtype, device=B.device)[:, None, :]
            self.all_steps = torch.cat(list(self._stepwise(q, self.matrix)), dim=1).flatten(1).contiguous()

    def levels(self, belief: Tensor, agents: slice) -> Sequence[Tensor]:
        """belief: (n, states) -> for each step (n, prefixes, states), the newest action varying fastest."""
        if self.all_steps is not None:
            return (
                (belief @ self.all_steps)
                .view(belief.shape[0], sum(self.prefixes), self.states)
                .split_with_sizes(self.prefixes, dim=1)
            )
        matrix = self.matrix if self.matrix.shape[0] == 1 else self.matrix[agents]
        return list(self._stepwise(belief[:, None, :], matrix))

    def _stepwise(self, q: Tensor, matrix: Tensor) -> Iterator[Tensor]:
        for prefixes in self.prefixes:
            q = _rows(q, matrix).view(q.shape[0], prefixes, self.states)
            yield q


class Readout:
    """Linear read-outs of the joint belief over some factors, all columns in one product.

    ``columns``: (batch, columns, states of the factors ...): outcomes' probabilities, or any function of state.
    """

    def __init__(self, model: GenerativeModel, factors: tuple[int, ...], columns: Tensor) -> None:
        # The factor with the fewest prefixes first: the contraction then stays small as long as it can.
        order = sorted(
            range(len(factors)), key=lambda i: (model.num_actions[factors[i]], -model.num_states[factors[i]])
        )
        self.order = tuple(factors[i] for i in order)
        self.width, self.batch = columns.shape[1], columns.shape[0]
        self.sizes = [model.num_states[f] for f in self.order]
        # (batch, states of the first factors ..., columns, states of the last)
        array = columns.permute(0, *(2 + i for i in order[:-1]), 1, 2 + order[-1])
        self.array = array.contiguous() if len(order) == 1 else array.reshape(self.batch, self.sizes[0], -1)
        # Positions of the factors in the result, to bring its axes into the model's order of factors.
        self.back = sorted(range(len(order)), key=lambda i: self.order[i])

    def __call__(self, q: Sequence[Tensor], agents: slice) -> Tensor:
        """q[f]: (n, prefixes_f, states_f) -> (n, prefixes of all factors but the last ..., columns, prefixes_last).

        Columns come before the prefixes of the last factor: whatever is summed over them then runs along memory.
        """
        array = self.array if self.batch == 1 else self.array[agents]
        last = q[self.order[-1]].transpose(1, 2)
        n = last.shape[0]
        if len(self.order) == 1:
            return torch.bmm(array.expand(n, -1, -1), last)
        y = _rows(q[self.order[0]], array)
        prefixes = [q[self.order[0]].shape[1]]
        for f, size in zip(self.order[1:-1], self.sizes[1:-1], strict=True):
            rest = array.shape[2] // math.prod(self.sizes[1 : len(prefixes) + 1])
            y = q[f][:, None] @ y.view(n, math.prod(prefixes), size, rest)
            prefixes.append(q[f].shape[1])
        y = torch.bmm(y.view(n, math.prod(prefixes) * self.width, self.sizes[-1]), last)
        return y.view(n, *prefixes, self.width, last.shape[2])

    def ascending(self, values: Tensor) -> Tensor:
        """(n, prefixes in this read-out's order ...) -> (n, prefixes in ascending order of factors ...)."""
        return values.permute(0, *(1 + i for i in self.back))


def contract(array: Tensor, beliefs: list[Tensor], width: int) -> Tensor:
    """Take the expectation of an array over several beliefs at once.

    array: (1 or n, states_1, states_2 * ... * width); beliefs[i]: (n, prefixes_i, states_i)
    -> (n, prefixes_last, ..., prefixes_1, width).
    """
    n = beliefs[0].shape[0]
    y = _rows(beliefs[0], array)
    prefixes, rest = [beliefs[0].shape[1]], array.shape[2]
    for q in beliefs[1:]:
        size, rows = q.shape[2], math.prod(prefixes)
        rest //= size
        y = y.view(n, rows, size, rest).transpose(1, 2).reshape(n, size, rows * rest)
        y = torch.bmm(q, y)
        prefixes.insert(0, q.shape[1])
    return y.view(n, *prefixes, width)


def _rows(q: Tensor, matrix: Tensor) -> Tensor:
    """q (n, rows, k) times matrix (1 or n, k, columns): one flat product where the matrix is shared."""
    if matrix.shape[0] == 1:
        return (q.reshape(-1, q.shape[-1]) @ matrix[0]).view(q.shape[0], q.shape[1], matrix.shape[2])
    return torch.bmm(q, matrix)


class PrefixTree:
    """The predicted beliefs of every factor along every prefix."""

    def __init__(self, model: GenerativeModel) -> None:
        self.model = model
        self.transitions = [Transitions(B, model.horizon) for B in model.B]

    def levels(self, beliefs: tuple[Tensor, ...], agents: slice) -> list[tuple[Tensor, ...]]:
        """For each step 1..horizon, the belief of each factor f: (n, actions_f ** step, states_f)."""
        steps = [t.levels(q, agents) for t, q in zip(self.transitions, beliefs, strict=True)]
        return list(zip(*steps, strict=True))

    def extend(self, previous: Tensor, level: Tensor, controls: tuple[int, ...], step: int) -> Tensor:
        """Add a level's values to the sums over its prefixes.

        previous: (n, U_f ** (step - 1) for f in controls ...); level: (n, U_f ** step ...) -> as level.
        """
        actions = [self.model.num_actions[f] for f in controls]
        split = [x for u in actions for x in (u ** (step - 1), u)]
        unit = [x for u in actions for x in (u ** (step - 1), 1)]
        n = level.shape[0]
        return (level.reshape(n, *split) + previous.reshape(n, *unit)).view(level.shape)

    def to_policies(self, values: Tensor, controls: tuple[int, ...]) -> Tensor:
        """Bring values per sequence of each control factor into the order of policies.

        values: (n, U_f ** horizon for f in controls ...) -> (n, U_f for step 1 ..., for step horizon ...) over all
        control factors, with size 1 for those that the values do not depend on: broadcastable over policies.
        """
        steps, n = self.model.horizon, values.shape[0]
        actions = [self.model.num_actions[f] for f in controls]
        x = values.reshape(n, *(u for u in actions for _ in range(steps)))
        # From (factor, step) to (step, factor).
        x = x.permute(0, *(1 + i * steps + t for t in range(steps) for i in range(len(controls))))
        every = [f for f, factor in enumerate(self.model.factors) if factor.controllable]
        return x.reshape(n, *([self.model.num_actions[f] if f in controls else 1 for f in every] * steps))
