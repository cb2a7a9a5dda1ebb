"""One matrix from a joint belief to the predicted outcomes of every prefix, for a model that all agents share.

P(o | s, u_1 ... u_t) is linear in the belief about s, so for fixed A and B the whole tree folds into one matrix,
made once by pushing A back through B. Worth it where the joint state space is small.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .model import GenerativeModel
from .numerics import negative_entropy

#: A matrix larger than this leaves the second-level cache and loses to the prefix tree.
MAX_ELEMENTS = 1 << 20
#: Below this many multiplications the number of operations decides, not their size.
SMALL_WORK = 1 << 15


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
    """g of every prefix, (n, prefixes), from a joint belief, (n, joint states)."""

    def __init__(self, model: GenerativeModel, linear: list[list[Tensor]]) -> None:
        """linear[t][m]: the part of g that is linear in the state, (1, states of m's factors ...), at step t."""
        self.prefixes = [math.prod(model.num_actions) ** t for t in range(1, model.horizon + 1)]
        transition = _joint_transitions(model)
        outcomes = torch.cat([_lift(model, m, A[0]) for m, A in enumerate(model.A)], dim=1)
        self.width = outcomes.shape[1]
        levels, linears = [], []
        for t in range(model.horizon):
            lifted = torch.stack([_lift(model, m, r[0])[:, 0] for m, r in enumerate(linear[t])]).sum(dim=0)
            columns = torch.cat([outcomes, lifted[:, None]], dim=1)[:, None, :]
            for _ in range(t + 1):
                columns = _push_back(transition, columns)
            levels.append(columns[..., :-1])
            linears.append(columns[..., -1])
        self.outcomes = torch.cat(levels, dim=1).flatten(1).contiguous()
        self.linear = torch.cat(linears, dim=1).contiguous()

    def __call__(self, joint: Tensor, entropy: bool) -> Tensor:
        if not entropy:
            return joint @ self.linear
        predicted = (joint @ self.outcomes).view(joint.shape[0], -1, self.width)
        return torch.addmm(negative_entropy(predicted), joint, self.linear)


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
