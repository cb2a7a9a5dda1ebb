"""Predicted states and outcomes of all policies at once, sharing every prefix.

Policies of horizon H over U actions have U^H leaves but only U + U^2 + ... + U^H distinct prefixes, and a factor's
state depends on its own actions alone. So each factor f carries U_f^t beliefs at step t (not the product over
factors, and not one per policy), and each modality is predicted for the combinations of the factors it depends on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from .model import GenerativeModel


class Transitions:
    """The transitions of one factor, laid out so that one product moves every prefix under every action."""

    def __init__(self, B: Tensor) -> None:
        """B: (batch, next, previous, actions)."""
        self.states, self.actions = B.shape[1], B.shape[3]
        # (batch, previous, actions * next): beliefs in rows on the left make one large product.
        self.matrix = B.permute(0, 2, 3, 1).reshape(B.shape[0], self.states, -1).contiguous()

    def step(self, q: Tensor, agents: slice) -> Tensor:
        """q: (n, prefixes, states) -> (n, prefixes * actions, states), the newest action varying fastest."""
        matrix = self.matrix if self.matrix.shape[0] == 1 else self.matrix[agents]
        n, prefixes, _ = q.shape
        return _rows(q, matrix).view(n, prefixes * self.actions, self.states)


class Readout:
    """A linear read-out of the joint belief over the factors a modality depends on.

    ``columns``: (batch, columns, states of the factors ...): outcomes' probabilities, or any function of state.
    """

    def __init__(self, model: GenerativeModel, modality: int, columns: Tensor) -> None:
        factors = model.modalities[modality].factors
        # The factor with the fewest prefixes first: the contraction then stays small as long as it can.
        prefixes, states = model.num_actions, model.num_states
        order = sorted(range(len(factors)), key=lambda i: (prefixes[factors[i]], -states[factors[i]]))
        self.order = tuple(factors[i] for i in order)
        self.width = columns.shape[1]
        self.batch = columns.shape[0]
        # (batch, states of order[0], states of order[1] ... * columns)
        self.array = columns.permute(0, *(2 + i for i in order), 1).flatten(2).contiguous()
        # Positions of the factors in the result, to bring its axes into the model's order of factors.
        reverse = self.order[::-1]
        self.back = sorted(range(len(reverse)), key=lambda i: reverse[i])

    def __call__(self, q: dict[int, Tensor], agents: slice) -> Tensor:
        """q[f]: (n, prefixes_f, states_f) -> (n, prefixes of its factors in ascending order ..., columns)."""
        array = self.array if self.batch == 1 else self.array[agents]
        y = contract(array, [q[f] for f in self.order], self.width)
        return y if len(self.order) == 1 else y.permute(0, *(1 + i for i in self.back), -1)


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
        self.transitions = [Transitions(B) for B in model.B]

    def levels(self, beliefs: tuple[Tensor, ...], agents: slice) -> Iterator[dict[int, Tensor]]:
        """Yield, for each step 1..horizon, the belief of each factor f: (n, actions_f ** step, states_f)."""
        q = {f: b[:, None, :] for f, b in enumerate(beliefs)}
        for _ in range(self.model.horizon):
            q = {f: self.transitions[f].step(q[f], agents) for f in q}
            yield q

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
