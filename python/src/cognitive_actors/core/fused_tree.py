"""One matrix from a joint belief to the predicted outcomes of every prefix, for a model that all agents share.

P(o | s, u_1 ... u_t) is linear in the belief about s, so for fixed A and B the whole tree folds into one matrix,
made once by pushing A back through B. Worth it where the joint state space is small.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .model import GenerativeModel
from .numerics import WIDE, x_log_x

#: A matrix larger than this leaves the second-level cache and loses to the prefix tree.
MAX_ELEMENTS = 1 << 20
#: Below this many multiplications the number of operations decides, not their size.
SMALL_WORK = 1 << 15
#: Up to this many rows, one product sums the steps of every policy faster than additions that pass over memory.
MAX_PRODUCT_ROWS = 128


def joint_belief(beliefs: tuple[Tensor, ...]) -> Tensor:
    """The product of independent beliefs. Each (n, states_f) -> (n, product of states_f), factor 0 slowest."""
    joint = beliefs[0]
    for q in beliefs[1:]:
        joint = (joint[:, :, None] * q[:, None, :]).flatten(1)
    return joint


def fused_work(model: GenerativeModel) -> int:
    """Multiplications per agent, which is also the number of elements of the matrix."""
    steps = math.prod(model.num_actions)
    prefixes: int = sum(steps**t for t in range(1, model.horizon + 1))
    return math.prod(model.num_states) * prefixes * (sum(model.num_outcomes) + 1)


def tree_work(model: GenerativeModel) -> int:
    """Multiplications per agent of the prefix tree for the same model."""
    work = 0
    for t in range(1, model.horizon + 1):
        prefixes = [u**t for u in model.num_actions]
        work += sum(v * s * s for v, s in zip(prefixes, model.num_states, strict=True))
        for m, outcomes in zip(model.modalities, model.num_outcomes, strict=True):
            order = sorted(m.factors, key=lambda f: prefixes[f])
            rest = math.prod(model.num_states[f] for f in order) * (outcomes + 1)
            rows = 1
            for f in order:
                rows *= prefixes[f]
                work += rows * rest
                rest //= model.num_states[f]
    return work


def worth_fusing(model: GenerativeModel) -> bool:
    """Whether the fused matrix is at least about as fast as the prefix tree; only a model without own arrays can be."""
    work = fused_work(model)
    return model.shared and work <= MAX_ELEMENTS and work <= 2 * tree_work(model) + SMALL_WORK


class FusedTree:
    """G of every policy from a joint belief, for a model that all agents share.

    Prefixes that predict the same outcomes from every present state (moves that commute, walls) share one block: on
    a grid or in a maze far fewer are distinct than there are.
    """

    def __init__(self, model: GenerativeModel, linear: list[list[Tensor]], *, entropy: bool) -> None:
        """linear[t][m]: the part of g that is linear in the state, (1, 1, states of m's factors ...), at step t.

        ``entropy``: whether g has the non-linear part, the negative entropy of predicted outcomes.
        """
        self.actions, self.horizon = math.prod(model.num_actions), model.horizon
        self.prefixes = [self.actions**t for t in range(1, model.horizon + 1)]
        exact = model.to(dtype=torch.float64)
        blocks, columns = _fold(exact, [[r.to(torch.float64) for r in row] for row in linear])
        self.states, self.width = columns.shape[0], blocks.shape[2]
        flat = blocks.to(model.dtype).flatten(1)
        distinct, self.distinct_of = torch.unique(flat, dim=0, return_inverse=True)
        if len(distinct) == len(flat):
            distinct, self.distinct_of = flat, torch.arange(len(flat), device=flat.device)
        self.distinct = len(distinct) if entropy else 0
        # Outcomes before prefixes: the sum over outcomes then runs along contiguous prefixes, several times faster.
        self.outcomes = distinct.view(-1, self.states, self.width).permute(1, 2, 0).flatten(1).contiguous()
        # Beliefs sum to one, so a constant can leave the columns; smaller numbers round less.
        offset = columns.mean(dim=0)
        self.linear = (columns - offset).to(model.dtype).contiguous()
        self.offset = offset.to(model.dtype)
        #: Elements per agent of the largest temporary.
        self.largest = max(self.outcomes.shape[1], self.prefixes[-1])
        self.product, self.constant = self._policies(columns, entropy)

    def __call__(self, joint: Tensor, weights: Tensor | None) -> Tensor:
        """joint: (n, joint states); weights: (n or 1, horizon) or None -> (n, policies)."""
        h = self._negative_entropies(joint) if self.distinct else None
        if weights is None and self.product is not None:
            x = joint if h is None else torch.cat([joint, h], dim=1)
            # Not addmm: it starts from the constant and rounds every term at the constant's size.
            return (x @ self.product).add_(self.constant)
        g = (joint @ self.linear).add_(self.offset)
        if h is not None:
            g += h if self.distinct == g.shape[1] else h[:, self.distinct_of]
        return self._sum_over_steps(g, weights)

    def _negative_entropies(self, joint: Tensor) -> Tensor:
        predicted = joint @ self.outcomes
        wide = self.outcomes.shape[1] >= WIDE
        return x_log_x(predicted, wide=wide).view(joint.shape[0], self.width, self.distinct).sum(dim=1)

    def _sum_over_steps(self, g: Tensor, weights: Tensor | None) -> Tensor:
        """(n, prefixes) -> (n, policies)."""
        total: Tensor | None = None
        for t, level in enumerate(g.split_with_sizes(self.prefixes, dim=1)):
            level = level if weights is None else level * weights[:, t : t + 1]
            if total is not None:
                level = (level.reshape(len(g), total.shape[1], self.actions) + total[:, :, None]).flatten(1)
            total = level
        assert total is not None
        return total

    def _policies(self, columns: Tensor, entropy: bool) -> tuple[Tensor | None, Tensor]:
        """The sum over steps as a matrix, (joint states + distinct, policies), where that is the cheaper way."""
        policies = self.prefixes[-1]
        rows = self.states + self.distinct
        dtype = self.linear.dtype
        if self.horizon == 1 or rows > MAX_PRODUCT_ROWS:
            return None, self.offset
        number = torch.arange(policies, device=columns.device)
        linear = columns.new_zeros(self.states, policies)
        counts = columns.new_zeros(self.distinct, policies)
        start = 0
        for t, size in enumerate(self.prefixes):
            prefix = start + number // self.actions ** (self.horizon - 1 - t)
            linear += columns[:, prefix]
            if entropy:
                counts.index_put_((self.distinct_of[prefix], number), columns.new_ones(()), accumulate=True)
            start += size
        constant = linear.mean(dim=0)
        # The small terms first and the few large ones last, for the sake of rounding.
        return torch.cat([linear - constant, counts]).to(dtype).contiguous(), constant.to(dtype)


def _fold(model: GenerativeModel, linear: list[list[Tensor]]) -> tuple[Tensor, Tensor]:
    """Push A and the linear columns back through B: (prefixes, joint states, outcomes) and (joint states, prefixes)."""
    transition = _joint_transitions(model)
    outcomes = torch.cat([_lift(model, m, A[0]) for m, A in enumerate(model.A)], dim=1)
    blocks, columns = [], []
    for t in range(model.horizon):
        lifted = torch.stack([_lift(model, m, r[0])[:, 0] for m, r in enumerate(linear[t])]).sum(dim=0)
        folded = torch.cat([outcomes, lifted[:, None]], dim=1)[:, None, :]
        for _ in range(t + 1):
            folded = _push_back(transition, folded)
        blocks.append(folded[..., :-1])
        columns.append(folded[..., -1])
    return torch.cat(blocks, dim=1).transpose(0, 1), torch.cat(columns, dim=1)


def _joint_transitions(model: GenerativeModel) -> Tensor:
    """P(s' | s, u) over the joint state and joint action: (actions, previous, next)."""
    joint = model.B[0][0].permute(2, 1, 0)
    for B in model.B[1:]:
        b = B[0].permute(2, 1, 0)
        joint = torch.einsum("upn,vqm->uvpqnm", joint, b).reshape(
            joint.shape[0] * b.shape[0], joint.shape[1] * b.shape[1], joint.shape[2] * b.shape[2]
        )
    return joint


def _lift(model: GenerativeModel, modality: int, columns: Tensor) -> Tensor:
    """(columns, states of the modality's factors ...) as a function of the joint state: (joint states, columns)."""
    factors = model.modalities[modality].factors
    ascending = sorted(range(len(factors)), key=lambda i: factors[i])
    x = columns.permute(*(1 + i for i in ascending), 0)
    shape = [n if f in factors else 1 for f, n in enumerate(model.num_states)]
    return x.reshape(*shape, -1).expand(*model.num_states, -1).reshape(math.prod(model.num_states), -1)


def _push_back(transition: Tensor, columns: Tensor) -> Tensor:
    """(joint states, prefixes, width) one step earlier: (joint states, actions * prefixes, width)."""
    states, prefixes, width = columns.shape
    moved = transition @ columns.reshape(states, prefixes * width)
    return moved.permute(1, 0, 2).reshape(states, -1, width)
