"""Learning: Dirichlet counts of A, B and D grow with what was seen, and may fade.

Each agent learns for itself: counts have a batch axis of N (a shared model is expanded by :func:`own_counts`).
Source: Da Costa et al. 2020 (J Math Psychol 99:102447); forgetting as in Sales et al. 2019
(PLoS Comput Biol 15:e1006267).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from .model import GenerativeModel
from .numerics import floor


def expected_distribution(counts: Tensor) -> Tensor:
    """The mean of Dirichlet distributions: counts (batch, outcomes, ...) normalised over the second axis."""
    return counts / counts.sum(dim=1, keepdim=True).clamp_min(floor(counts))


def own_counts(model: GenerativeModel, agents: int) -> GenerativeModel:
    """The model with counts (and the A, B, D that follow from them) of its own for each agent."""

    def expand(xs: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
        return None if xs is None else tuple(x.expand(agents, *x.shape[1:]).clone() for x in xs)

    return with_counts(model, expand(model.pA), expand(model.pB), expand(model.pD))


def with_counts(
    model: GenerativeModel,
    pA: tuple[Tensor, ...] | None = None,
    pB: tuple[Tensor, ...] | None = None,
    pD: tuple[Tensor, ...] | None = None,
) -> GenerativeModel:
    """The model whose A, B and D are the means of the given counts; those of None stay as they are."""
    changes: dict[str, object] = {}
    for label, counts in (("A", pA), ("B", pB), ("D", pD)):
        if counts is not None:
            changes[f"p{label}"] = counts
            changes[label] = tuple(expected_distribution(x) for x in counts)
    return replace(model, **changes)  # type: ignore[arg-type]


@torch.inference_mode()
def update_likelihood_counts(
    model: GenerativeModel, observations: Sequence[Tensor], beliefs: Sequence[Tensor], rate: float = 1.0
) -> tuple[Tensor, ...]:
    """pA after one observation: each count grows by rate * P(outcome) * product of beliefs.

    observations as in ``infer_states`` (an outcome of -1 adds nothing); beliefs[f]: (agents, states_f) -> one
    (agents, outcomes, states ...) for each modality. Raises ValueError for a model without pA.
    """
    if model.pA is None:
        raise ValueError("the model has no counts pA to learn; give it pA, or leave A as it is")
    updated = []
    for modality, counts, o in zip(model.modalities, model.pA, observations, strict=True):
        weight = o.to(counts.dtype) if o.is_floating_point() else _one_hot(o, counts.shape[1], counts.dtype)
        for f in modality.factors:
            weight = weight[..., None] * beliefs[f].view(
                len(beliefs[f]), *[1] * (weight.dim() - 1), beliefs[f].shape[1]
            )
        updated.append(counts + rate * weight)
    return tuple(updated)


@torch.inference_mode()
def update_transition_counts(
    model: GenerativeModel,
    previous: Sequence[Tensor],
    beliefs: Sequence[Tensor],
    actions: Tensor,
    rate: float = 1.0,
) -> tuple[Tensor, ...]:
    """pB after one step: each count grows by rate * belief now * belief before * whether the action was taken.

    previous[f], beliefs[f]: (agents, states_f); actions: int64 (agents, factors) -> one (agents, next, previous,
    actions) for each factor. Raises ValueError for a model without pB.
    """
    if model.pB is None:
        raise ValueError("the model has no counts pB to learn; give it pB, or leave B as it is")
    return tuple(
        counts
        + rate
        * beliefs[f][:, :, None, None]
        * previous[f][:, None, :, None]
        * _one_hot(actions[:, f], counts.shape[3], counts.dtype)[:, None, None, :]
        for f, counts in enumerate(model.pB)
    )


@torch.inference_mode()
def update_initial_counts(model: GenerativeModel, beliefs: Sequence[Tensor], rate: float = 1.0) -> tuple[Tensor, ...]:
    """pD after the first inference of a trial: each count grows by rate * belief about the state at t = 0.

    beliefs[f]: (agents, states_f) -> as beliefs. Raises ValueError for a model without pD.
    """
    if model.pD is None:
        raise ValueError("the model has no counts pD to learn; give it pD, or leave D as it is")
    return tuple(counts + rate * q for counts, q in zip(model.pD, beliefs, strict=True))


@torch.inference_mode()
def forget(counts: Tensor, initial: Tensor, retention: Tensor | float) -> Tensor:
    """Counts that fade towards their initial values: initial + retention * (counts - initial).

    retention: a number or (agents,), in [0, 1]; 1 forgets nothing, 1 - 1/alpha is Sales' rate.
    """
    if isinstance(retention, Tensor):
        retention = retention.to(counts.dtype).view(-1, *[1] * (counts.dim() - 1))
    return initial + (counts - initial) * retention


def _one_hot(index: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """(agents,) -> (agents, classes); a row of zeros for -1."""
    hot = torch.zeros(len(index), classes, dtype=dtype, device=index.device)
    return hot.scatter_(1, index.clamp_min(0)[:, None], (index >= 0).to(dtype)[:, None])
