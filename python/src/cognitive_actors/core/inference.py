"""State inference: what the hidden states are, given an observation and a prior.

Two methods. ``fixed-point`` keeps one belief per factor (mean field) and updates the factors one after the other,
each to its best given the others, so the variational free energy never increases from sweep to sweep; updating them
all at once, as is common, can oscillate between factors that explain the same outcome. ``joint`` is exact Bayes over
the joint state and returns its marginals. With one factor the two are the same and take one pass.

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
from .prefix_tree import contract

Method = Literal["fixed-point", "joint"]

#: An agent none of whose beliefs moved by more than this in a sweep has converged. Free energy would not do: it is flat
#: at its minimum, and stands still in the last bit while beliefs are still off by the root of that.
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
    probabilities (soft evidence, ln P(o | s) averaged over them); prior[f]: (agents or 1, states_f), by default D.
    max_sweeps, tolerance: ``fixed-point`` ends for an agent once a sweep moves none of its beliefs by more than
    tolerance (a probability; by default TOLERANCE), and after max_sweeps for all.
    Zero probabilities count as the machine epsilon of the model's precision, so that what cannot be is unlikely in the
    extreme and an impossible outcome still has a posterior.
    Raises ValueError for an outcome that modality m does not have, and for a number of modalities, factors or agents
    that does not fit.
    """
    given = model.D if prior is None else prior
    n = batch_size(model, observations, given)
    evidence = [log_likelihood(model, m, o) for m, o in enumerate(observations)]
    log_prior = [safe_log(p).expand(n, -1) for p in given]
    if method == "joint":
        return _joint(model, evidence, log_prior)
    if method != "fixed-point":
        raise ValueError(f"method is {method!r}; write 'fixed-point' or 'joint'")
    if tolerance is None:
        tolerance = TOLERANCE[model.dtype]
    return _fixed_point(model, evidence, log_prior, max_sweeps, tolerance)


def batch_size(model: GenerativeModel, observations: Sequence[Tensor], prior: Sequence[Tensor]) -> int:
    """How many agents there are. Raises ValueError where the arguments do not agree on it, or not with the model."""
    for given, wanted, kind in ((observations, model.modalities, "modality"), (prior, model.factors, "factor")):
        if len(given) != len(wanted):
            name = "observations" if kind == "modality" else "prior"
            raise ValueError(f"{name} has length {len(given)}; write {len(wanted)} tensors, one for each {kind}")
    n = len(observations[0])
    for modality, o in zip(model.modalities, observations, strict=True):
        if len(o) != n:
            raise ValueError(f"modality {modality.name!r} has {len(o)} observations, not {n}; write one per agent")
    for factor, size, p in zip(model.factors, model.num_states, prior, strict=True):
        if p.shape not in ((1, size), (n, size)):
            raise ValueError(f"the prior of factor {factor.name!r} has shape {tuple(p.shape)}; write {(n, size)}")
    return n


def log_likelihood(model: GenerativeModel, modality: int, observation: Tensor) -> Tensor:
    """ln P(o | s) for each agent's outcome: (agents, states of the modality's factors ...); zero if not observed.

    Observation and errors as in :func:`infer_states`.
    """
    A, name = model.A[modality], model.modalities[modality].name
    outcomes = A.shape[1]
    if observation.is_floating_point():
        if observation.dim() != 2 or observation.shape[1] != outcomes:
            shape = (len(observation), outcomes)
            raise ValueError(f"soft evidence of modality {name!r} has shape {tuple(observation.shape)}; write {shape}")
        batch = "b" if A.shape[0] == 1 else "n"
        return torch.einsum(f"no,{batch}o...->n...", observation.to(A.dtype), safe_log(A))
    if observation.numel() and not (int(observation.min()) >= -1 and int(observation.max()) < outcomes):
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


@torch.inference_mode()
def evidence_of_actions(model: GenerativeModel, beliefs: Sequence[Tensor], observations: Sequence[Tensor]) -> Tensor:
    """ln P(observations | action), had each combination of actions been taken from the beliefs before.

    beliefs[f]: (agents, states_f), about the state before the action; observations as in :func:`infer_states`; the
    modalities count as independent given the beliefs -> (agents, combinations), in the order of ``first_actions``.
    """
    n = len(beliefs[0])
    moved = [_moves(B, q) for B, q in zip(model.B, beliefs, strict=True)]
    total = beliefs[0].new_zeros(n, *model.num_actions)
    for m, (modality, o) in enumerate(zip(model.modalities, observations, strict=True)):
        likelihood = log_likelihood(model, m, o).exp()
        order = modality.factors
        array = likelihood.flatten(2) if len(order) > 1 else likelihood[..., None]
        p = contract(array, [moved[f] for f in order], 1)[..., 0]
        # ``contract`` returns the last factor first.
        reverse = order[::-1]
        p = p.permute(0, *(1 + reverse.index(f) for f in sorted(order)))
        shape = [u if f in order else 1 for f, u in enumerate(model.num_actions)]
        total = total + p.clamp_min(torch.finfo(p.dtype).tiny).log().reshape(n, *shape)
    return total.flatten(1)


def _move(B: Tensor, q: Tensor, action: Tensor) -> Tensor:
    n = len(q)
    if B.shape[3] == 1:
        return _moves(B, q)[:, 0]
    if B.shape[0] == 1:
        # All actions in one product: cheaper than gathering a matrix for each agent.
        return _moves(B, q)[torch.arange(n, device=q.device), action]
    chosen = B[torch.arange(n, device=q.device), :, :, action]
    return torch.bmm(chosen, q[:, :, None])[:, :, 0]


def _moves(B: Tensor, q: Tensor) -> Tensor:
    """q (agents, states) under every action of B (batch, next, previous, actions): (agents, actions, next)."""
    matrix = B.permute(0, 2, 3, 1).flatten(2)
    moved = q @ matrix[0] if B.shape[0] == 1 else torch.bmm(q[:, None, :], matrix)
    return moved.view(len(q), B.shape[3], B.shape[1])


def _fixed_point(
    model: GenerativeModel, evidence: list[Tensor], log_prior: list[Tensor], max_sweeps: int, tolerance: float
) -> StateInference:
    if len(log_prior) == 1:
        exact = [torch.softmax(torch.stack([*log_prior, *evidence]).sum(dim=0), dim=-1)]
        return StateInference(tuple(exact), _free_energy(model, evidence, log_prior, exact), 1)
    q = [torch.softmax(p, dim=-1) for p in log_prior]
    going = torch.ones(len(q[0]), dtype=torch.bool, device=q[0].device)
    sweeps = 0
    while sweeps < max_sweeps and bool(going.any()):
        sweeps += 1
        moved = torch.zeros_like(q[0][:, 0])
        for f, p in enumerate(log_prior):
            message = p
            for x, modality in zip(evidence, model.modalities, strict=True):
                if f in modality.factors:
                    message = message + expectation(x, modality.factors, q, keep=f)
            new = torch.softmax(message, dim=-1)
            moved = torch.maximum(moved, (new - q[f]).abs().amax(dim=-1))
            # An agent that has converged is left as it is, so that its result does not depend on its neighbours.
            q[f] = torch.where(going[:, None], new, q[f])
        going = going & (moved > tolerance)
    return StateInference(tuple(q), _free_energy(model, evidence, log_prior, q), sweeps)


def expectation(x: Tensor, factors: tuple[int, ...], q: Sequence[Tensor], keep: int | None = None) -> Tensor:
    """E of x (agents, states of ``factors`` ...) under beliefs q, over all of its factors but ``keep``."""
    for position in reversed(range(len(factors))):
        f = factors[position]
        if f != keep:
            # Axes behind this one are those of ``keep`` alone, if that has been passed already.
            behind = x.dim() - position - 2
            x = (x * q[f].view(q[f].shape[0], *[1] * position, q[f].shape[1], *[1] * behind)).sum(dim=1 + position)
    return x


def over_all_states(x: Tensor, factors: tuple[int, ...], sizes: tuple[int, ...]) -> Tensor:
    """x (agents, states of ``factors`` ...) with one axis for every factor in order, of length 1 for the others."""
    x = x.permute(0, *(1 + factors.index(f) for f in sorted(factors)))
    return x.reshape(len(x), *[s if f in factors else 1 for f, s in enumerate(sizes)])


def _free_energy(
    model: GenerativeModel, evidence: list[Tensor], log_prior: list[Tensor], q: Sequence[Tensor]
) -> Tensor:
    """F = sum_f KL[q_f || prior_f] - sum_m E_q ln P(o_m | s): complexity minus accuracy, (agents,)."""
    free_energy = torch.zeros_like(q[0][:, 0])
    for x, p in zip(q, log_prior, strict=True):
        free_energy = free_energy + ((safe_log(x) - p) * x).sum(dim=-1)
    for x, modality in zip(evidence, model.modalities, strict=True):
        free_energy = free_energy - expectation(x, modality.factors, q)
    return free_energy


def _joint(model: GenerativeModel, evidence: list[Tensor], log_prior: list[Tensor]) -> StateInference:
    n, sizes = log_prior[0].shape[0], model.num_states
    total = torch.zeros(n, *sizes, dtype=model.dtype, device=model.device)
    for f, p in enumerate(log_prior):
        total = total + over_all_states(p, (f,), sizes)
    for m, x in zip(model.modalities, evidence, strict=True):
        total = total + over_all_states(x, m.factors, sizes)
    flat = total.flatten(1)
    posterior = torch.softmax(flat, dim=-1).view(n, *sizes)
    marginals = tuple(
        posterior.sum(dim=[1 + i for i in range(len(sizes)) if i != f]) if len(sizes) > 1 else posterior
        for f in range(len(sizes))
    )
    return StateInference(marginals, -torch.logsumexp(flat, dim=-1), 1)
