"""State inference: what the hidden states are, given an observation and a prior.

Two methods. ``fixed-point`` keeps one belief per factor (mean field) and updates the factors one after the other,
so the variational free energy never increases from sweep to sweep; updating them all at once, as is common, can
oscillate between factors that explain the same outcome. ``joint`` is exact Bayes over the joint state and returns its
marginals. With one factor the two are the same and take one pass.

Source: Da Costa et al. 2020 (J Math Psychol 99:102447); coordinate ascent: Blei et al. 2017
(J Am Stat Assoc 112:859), section 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .model import GenerativeModel
from .numerics import safe_log

Method = Literal["fixed-point", "joint"]

#: An agent whose free energy fell by less than this (nats) in a sweep has converged.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


@dataclass(frozen=True)
class StateInference:
    """beliefs[f]: (agents, states_f); free_energy: (agents,) nats; sweeps: how many the slowest agent took."""

    beliefs: tuple[Tensor, ...]
    free_energy: Tensor
    sweeps: int


@torch.inference_mode()
def infer_states(
    model: GenerativeModel,
    observations: Sequence[Tensor],
    prior: Sequence[Tensor] | None = None,
    *,
    method: Method = "fixed-point",
    max_sweeps: int = 16,
    tolerance: float | None = None,
) -> StateInference:
    """Beliefs about the present state of every agent.

    observations[m]: int64 (agents,) outcome numbers, -1 where the modality was not observed, or (agents, outcomes)
    probabilities (soft evidence); prior[f]: (agents or 1, states_f), by default D.
    Raises ValueError for an outcome that modality m does not have.
    """
    evidence = [log_likelihood(model, m, o) for m, o in enumerate(observations)]
    n = max(x.shape[0] for x in evidence)
    given = model.D if prior is None else prior
    log_prior = [safe_log(p).expand(n, -1) for p in given]
    if method == "joint":
        return _joint(model, evidence, log_prior)
    if method != "fixed-point":
        raise ValueError(f"method is {method!r}; write 'fixed-point' or 'joint'")
    if tolerance is None:
        tolerance = TOLERANCE[model.dtype]
    return _fixed_point(model, evidence, log_prior, max_sweeps, tolerance)


def log_likelihood(model: GenerativeModel, modality: int, observation: Tensor) -> Tensor:
    """ln P(o | s) for each agent's outcome: (agents, states of the modality's factors ...); zero if not observed."""
    A = model.A[modality]
    if observation.is_floating_point():
        return torch.einsum("no,bo...->n...", observation, safe_log(A)) if A.shape[0] == 1 else torch.einsum(
            "no,no...->n...", observation, safe_log(A)
        )
    outcomes = A.shape[1]
    if observation.numel() and not (int(observation.min()) >= -1 and int(observation.max()) < outcomes):
        name = model.modalities[modality].name
        raise ValueError(f"an outcome of modality {name!r} is outside 0..{outcomes - 1} (-1: not observed)")
    index = observation.clamp_min(0)
    if A.shape[0] == 1:
        likelihood = A[0].index_select(0, index)
    else:
        likelihood = A[torch.arange(len(index), device=index.device), index]
    seen = (observation >= 0).to(A.dtype)
    return safe_log(likelihood) * seen.view(-1, *[1] * (likelihood.dim() - 1))


@torch.inference_mode()
def predict_states(model: GenerativeModel, beliefs: Sequence[Tensor], actions: Tensor) -> tuple[Tensor, ...]:
    """The prior of the next step: beliefs moved by the chosen actions.

    beliefs[f]: (agents, states_f); actions: int64 (agents, factors) -> a tuple as beliefs.
    """
    return tuple(_move(B, q, actions[:, f]) for f, (B, q) in enumerate(zip(model.B, beliefs, strict=True)))


def _move(B: Tensor, q: Tensor, action: Tensor) -> Tensor:
    n, states = q.shape
    if B.shape[3] == 1:
        return q @ B[0, :, :, 0].T if B.shape[0] == 1 else torch.bmm(B[..., 0], q[:, :, None])[:, :, 0]
    if B.shape[0] == 1:
        # All actions in one product: cheaper than gathering a matrix for each agent.
        moved = (q @ B[0].permute(1, 2, 0).reshape(states, -1)).view(n, -1, states)
        return moved[torch.arange(n, device=q.device), action]
    chosen = B[torch.arange(n, device=q.device), :, :, action]
    return torch.bmm(chosen, q[:, :, None])[:, :, 0]


def _fixed_point(
    model: GenerativeModel, evidence: list[Tensor], log_prior: list[Tensor], max_sweeps: int, tolerance: float
) -> StateInference:
    q = [torch.softmax(p, dim=-1) for p in log_prior]
    if len(q) == 1:
        log_joint = log_prior[0] + torch.stack(torch.broadcast_tensors(*evidence)).sum(dim=0)
        q = [torch.softmax(log_joint, dim=-1)]
        return StateInference((q[0],), _free_energy(model, evidence, log_prior, q), 1)
    free_energy = _free_energy(model, evidence, log_prior, q)
    going = torch.ones_like(free_energy, dtype=torch.bool)
    sweep = 0
    for sweep in range(1, max_sweeps + 1):
        new = list(q)
        for f, p in enumerate(log_prior):
            message = p
            for m, modality in enumerate(model.modalities):
                if f in modality.factors:
                    message = message + expectation(evidence[m], modality.factors, new, keep=f)
            new[f] = torch.softmax(message, dim=-1)
        after = _free_energy(model, evidence, log_prior, new)
        # An agent that has converged is left as it is, so that its result does not depend on its neighbours.
        better = going & (after < free_energy)
        q = [torch.where(better[:, None], x, y) for x, y in zip(new, q, strict=True)]
        going = better & (free_energy - after > tolerance)
        free_energy = torch.where(better, after, free_energy)
        if not bool(going.any()):
            break
    return StateInference(tuple(q), free_energy, sweep)


def expectation(x: Tensor, factors: tuple[int, ...], q: Sequence[Tensor], keep: int | None = None) -> Tensor:
    """E of x (agents, states of ``factors`` ...) under beliefs q, over all of its factors but ``keep``."""
    for position in reversed(range(len(factors))):
        f = factors[position]
        if f != keep:
            # Axes behind this one are those of ``keep`` alone, if that has been passed already.
            behind = x.dim() - position - 2
            x = (x * q[f].view(q[f].shape[0], *[1] * position, -1, *[1] * behind)).sum(dim=1 + position)
    return x


def _free_energy(
    model: GenerativeModel, evidence: list[Tensor], log_prior: list[Tensor], q: Sequence[Tensor]
) -> Tensor:
    """F = sum_f KL[q_f || prior_f] - sum_m E_q ln P(o_m | s): complexity minus accuracy, (agents,)."""
    complexity = sum(((safe_log(x) - p) * x).sum(dim=-1) for x, p in zip(q, log_prior, strict=True))
    accuracy = sum(expectation(x, m.factors, q) for x, m in zip(evidence, model.modalities, strict=True))
    return torch.as_tensor(complexity - accuracy)


def _joint(model: GenerativeModel, evidence: list[Tensor], log_prior: list[Tensor]) -> StateInference:
    n, sizes = log_prior[0].shape[0], model.num_states
    total = torch.zeros(n, *sizes, dtype=model.dtype, device=model.device)
    for f, p in enumerate(log_prior):
        total = total + p.view(n, *[s if i == f else 1 for i, s in enumerate(sizes)])
    for m, x in zip(model.modalities, evidence, strict=True):
        ascending = sorted(range(len(m.factors)), key=lambda i, m=m: m.factors[i])
        x = x.permute(0, *(1 + i for i in ascending))
        total = total + x.reshape(x.shape[0], *[s if f in m.factors else 1 for f, s in enumerate(sizes)])
    flat = total.flatten(1)
    posterior = torch.softmax(flat, dim=-1).view(n, *sizes)
    marginals = tuple(
        posterior.sum(dim=[1 + i for i in range(len(sizes)) if i != f]) if len(sizes) > 1 else posterior
        for f in range(len(sizes))
    )
    return StateInference(marginals, -torch.logsumexp(flat, dim=-1), 1)

