"""Policies: every sequence of actions up to the horizon.

Order: that of ``itertools.product``, as in pymdp and SPM: the first step varies slowest and, within a step,
the first factor. The trees of expected free energy rely on it: the policies that share a prefix are neighbours.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from .model import GenerativeModel


def policy_actions(model: GenerativeModel) -> Tensor:
    """The actions of each policy at each step. Returns int64 (policies, horizon, factors)."""
    step = list(itertools.product(*(range(n) for n in model.num_actions)))
    return torch.tensor(list(itertools.product(step, repeat=model.horizon)), dtype=torch.int64, device=model.device)


def first_actions(model: GenerativeModel) -> Tensor:
    """Every combination of actions for one step. Returns int64 (combinations, factors)."""
    step = list(itertools.product(*(range(n) for n in model.num_actions)))
    return torch.tensor(step, dtype=torch.int64, device=model.device)


def describe_policy(model: GenerativeModel, policy: int) -> str:
    """A policy in words: the names of its actions, ``go left > read the cue``.

    policy: its number in the order of ``policy_actions``. Raises ValueError for one that does not exist.
    """
    if not 0 <= policy < model.num_policies:
        raise ValueError(f"policy is {policy}; write a number from 0 to {model.num_policies - 1}")
    steps = []
    for _ in range(model.horizon):
        names = []
        for factor in reversed(model.factors):
            policy, action = divmod(policy, len(factor.actions))
            if factor.controllable:
                names.append(factor.actions[action])
        steps.append(" + ".join(reversed(names)) or "none")
    return " > ".join(reversed(steps))
