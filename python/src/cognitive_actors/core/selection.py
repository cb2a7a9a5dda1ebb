"""From expected free energy to a policy posterior, and from there to an action.

Source: Friston et al. 2017, Active inference: a process theory (Neural Comput 29:1).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .numerics import safe_log
from .philox import Philox, Purpose

Mode = Literal["marginal", "full"]

#: Log-probabilities closer than this are a tie, and the first of the tied wins: without it the rounding of the last
#: bit would choose, differently on every machine.
TIE_TOLERANCE = 1e-4


def policy_posterior(
    G: Tensor, precision: Tensor | float = 1.0, habits: Tensor | None = None, habit_weight: Tensor | float = 1.0
) -> Tensor:
    """q(policy) = softmax(-precision * G + habit_weight * ln E).

    G: (agents, policies) nats; precision (gamma) and habit_weight: a number or (agents,); habits E:
    (agents or 1, policies), uniform if None -> (agents, policies), in G's precision.
    """
    prior: Tensor | float = 0.0
    if habits is not None:
        prior = safe_log(habits)
        if isinstance(habit_weight, Tensor) or habit_weight != 1.0:
            prior = prior * _column(habit_weight, G)
    if isinstance(precision, Tensor):
        return torch.softmax(prior - G * _column(precision, G), dim=-1)
    score = torch.add(prior, G, alpha=-precision) if isinstance(prior, Tensor) else G * -precision
    return torch.softmax(score, dim=-1)


@torch.inference_mode()
def action_marginals(posterior: Tensor, num_actions: tuple[int, ...]) -> tuple[Tensor, ...]:
    """P(u_f) at the first step: posterior (agents, policies) -> for each factor (agents, actions_f)."""
    n, policies = posterior.shape
    combinations = math.prod(num_actions)
    first = posterior.reshape(n, combinations, policies // combinations).sum(dim=-1).view(n, *num_actions)
    axes = range(1, 1 + len(num_actions))
    return tuple(first.sum(dim=[a for a in axes if a != f]) if len(num_actions) > 1 else first for f in axes)


@torch.inference_mode()
def select_action(
    posterior: Tensor,
    num_actions: tuple[int, ...],
    *,
    mode: Mode = "marginal",
    alpha: float | None = None,
    generator: Philox | None = None,
    agents: Tensor | None = None,
    step: Tensor | int = 0,
) -> Tensor:
    """The action of each factor for the next step, int64 (agents, factors).

    posterior: (agents, policies); num_actions: of each factor. mode: ``marginal`` sums the posterior over the policies
    that begin with an action, per factor; ``full`` takes the first action of one policy. alpha: None takes the most
    probable (:func:`most_probable`), a number samples from softmax(alpha * ln P) with the generator, the agents' own
    numbers, int64 (agents,), and their step. Raises ValueError for another mode, or sampling without a generator.
    """
    if alpha is not None and generator is None:
        raise ValueError("sampling needs a generator; write generator=Philox(seed), or alpha=None")
    ids = torch.arange(posterior.shape[0], device=posterior.device) if agents is None else agents

    def choose(p: Tensor, index: int) -> Tensor:
        if alpha is None or generator is None:
            return most_probable(p)
        weights = torch.softmax(alpha * safe_log(p), dim=-1)
        return sample(weights, generator.uniform(ids, step, Purpose.ACTION, index))

    if mode == "marginal":
        return torch.stack([choose(p, f) for f, p in enumerate(action_marginals(posterior, num_actions))], dim=1)
    if mode != "full":
        raise ValueError(f"mode is {mode!r}; write 'marginal' or 'full'")
    policies_per_action = posterior.shape[1] // math.prod(num_actions)
    first = choose(posterior, 0) // policies_per_action
    columns = []
    for n in reversed(num_actions):
        columns.append(first % n)
        first = first // n
    return torch.stack(columns[::-1], dim=1)


def sample(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Draw by inversion: probabilities (agents, k), uniform (agents,) in [0, 1) -> int64 (agents,)."""
    cumulative = probabilities.to(torch.float64).cumsum(dim=-1)
    drawn = (uniform[:, None] * cumulative[:, -1:] >= cumulative).sum(dim=-1)
    return drawn.clamp_max(probabilities.shape[1] - 1)


def most_probable(p: Tensor) -> Tensor:
    """The most probable, and of those within TIE_TOLERANCE of it the first: (agents, k) -> int64 (agents,)."""
    log_p = safe_log(p)
    best = log_p >= log_p.amax(dim=-1, keepdim=True) - TIE_TOLERANCE
    return best.to(torch.uint8).argmax(dim=-1)


def _column(x: Tensor | float, like: Tensor) -> Tensor | float:
    if not isinstance(x, Tensor):
        return x
    x = x.to(like.dtype)
    return x[:, None] if x.dim() == 1 else x
