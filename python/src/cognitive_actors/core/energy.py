"""The terms of free energy under a generative model, its gradient, and a descent that never climbs.

For beliefs q_f over the states of each factor and observations o_m, in nats, with F as in ``inference``::

    F = sum_f KL[q_f || prior_f]  -  sum_m E_q ln P(o_m | s)
        complexity, by factor        accuracy, by modality

With q = softmax(v), the gradient by the logits v of a factor is that of a softmax, of what the derivative by q_f says::

    g_f = ln q_f - ln prior_f - sum_m E_{q without f} ln P(o_m | s)          dF/dv_f = q_f (g_f - q_f . g_f)

which is zero where each belief is the best given the others: where ``infer_states`` ends. Of beliefs that are
marginals of a joint posterior, F by these terms is above the exact -ln P(o), unless there is one factor; the terms of
the exact one are :func:`exact_terms`. Zero probabilities count as in ``infer_states``.

Source: Da Costa et al. 2020 (J Math Psychol 99:102447); for the expected free energy see ``expected_free_energy``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .expected_free_energy import Planner, Terms
from .inference import batch_size, expectation, log_likelihood, over_all_states
from .model import GenerativeModel
from .numerics import safe_log
from .validation import check_distribution, check_finite

__all__ = [
    "Descent",
    "Energies",
    "VariationalTerms",
    "descend",
    "energies",
    "exact_terms",
    "gradient",
    "variational_terms",
]

#: A step is taken if it brings this share of what its gradient promises: one half, which steps up to the inverse of the
#: curvature do bring (descent lemma: Beck 2017, First-order methods in optimization, lemma 5.7). With the much smaller
#: share that is usual, a long step may end in near certainty of a wrong state, where logits hardly have a slope.
SUFFICIENT = 0.5
#: A step is halved at most this often before the beliefs are left as they are: a choice.
HALVINGS = 40


@dataclass(frozen=True, eq=False)
class VariationalTerms:
    """Terms of F in nats. complexity: (agents, factors), 0 or more but for rounding, or (agents, 1) of a joint belief;
    accuracy: (agents, modalities), 0 or less, and 0 where nothing was observed.
    """

    complexity: Tensor
    accuracy: Tensor

    @property
    def free_energy(self) -> Tensor:
        """F, (agents,): all complexity minus all accuracy."""
        return self.complexity.sum(dim=1) - self.accuracy.sum(dim=1)


@dataclass(frozen=True, eq=False)
class Energies:
    """What beliefs cost and what they promise: F of the present, and G of every policy, term by term."""

    variational: VariationalTerms
    expected: Terms


@dataclass(frozen=True, eq=False)
class Descent:
    """Beliefs after a step. beliefs[f]: (agents, states_f); free_energy: (agents,) nats, never above that before; rate:
    (agents,) how much of the gradient was subtracted from the logits, zero where no step lowers F by enough.
    """

    beliefs: tuple[Tensor, ...]
    free_energy: Tensor
    rate: Tensor


@torch.inference_mode()
def variational_terms(
    model: GenerativeModel,
    observations: Sequence[Tensor],
    beliefs: Sequence[Tensor],
    prior: Sequence[Tensor] | None = None,
) -> VariationalTerms:
    """The terms of F of any beliefs.

    observations, prior as in ``infer_states``; beliefs[f]: (agents, states_f), each row a distribution.
    Raises ValueError for outcomes, numbers of agents and shapes that do not fit, and where beliefs or prior are not
    distributions.
    """
    evidence, log_prior = _evidence(model, observations, beliefs, prior)
    return _terms(model, evidence, log_prior, beliefs)


@torch.inference_mode()
def exact_terms(
    model: GenerativeModel, observations: Sequence[Tensor], prior: Sequence[Tensor] | None = None
) -> VariationalTerms:
    """The terms of the least F there is, -ln P(o), which the exact posterior over joint states has.

    Arguments and errors as in :func:`variational_terms`; it enumerates the joint states. Complexity has one column, as
    the posterior is not a product of factors.
    """
    given = model.D if prior is None else prior
    evidence, log_prior = _evidence(model, observations, None, given)
    sizes = model.num_states
    priors = [over_all_states(p, (f,), sizes) for f, p in enumerate(log_prior)]
    likelihoods = [over_all_states(x, m.factors, sizes) for m, x in zip(model.modalities, evidence, strict=True)]
    total = torch.zeros(len(log_prior[0]), *sizes, dtype=model.dtype, device=model.device)
    before = sum(priors, total)
    after = torch.log_softmax(sum(likelihoods, before).flatten(1), dim=-1)
    posterior = after.exp()
    complexity = (posterior * (after - before.flatten(1))).sum(dim=1)
    accuracy = [(posterior * x.expand_as(total).flatten(1)).sum(dim=1) for x in likelihoods]
    return VariationalTerms(complexity[:, None], torch.stack(accuracy, dim=1))


@torch.inference_mode()
def gradient(
    model: GenerativeModel,
    observations: Sequence[Tensor],
    beliefs: Sequence[Tensor],
    prior: Sequence[Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """dF by the logits of the beliefs, which are softmax(logits): for each factor (agents, states_f), rows of sum zero.

    Which logits does not matter, as all that give the same beliefs differ by a constant per row. Arguments and errors
    as in :func:`variational_terms`.
    """
    evidence, log_prior = _evidence(model, observations, beliefs, prior)
    return _gradient(model, evidence, log_prior, beliefs)


@torch.inference_mode()
def descend(
    model: GenerativeModel,
    observations: Sequence[Tensor],
    beliefs: Sequence[Tensor],
    prior: Sequence[Tensor] | None = None,
    *,
    rate: float = 1.0,
) -> Descent:
    """One step of gradient descent on the logits of all factors at once, each agent by itself.

    The step is ``rate`` times the gradient, halved until F falls by SUFFICIENT of what the gradient promises; an agent
    for which HALVINGS do not bring that keeps its beliefs. So F never rises, at any rate. Arguments and errors as in
    :func:`variational_terms`, and for a rate that is not greater than zero.
    """
    if not 0 < rate < float("inf"):
        raise ValueError(f"rate is {rate}; write a finite number greater than zero")
    evidence, log_prior = _evidence(model, observations, beliefs, prior)
    slope = _gradient(model, evidence, log_prior, beliefs)
    before = _terms(model, evidence, log_prior, beliefs).free_energy
    promised = sum((g.square().sum(dim=1) for g in slope), torch.zeros_like(before))
    chosen, lowest, taken = list(beliefs), before, torch.zeros_like(before)
    step, open_ = torch.full_like(before, rate), promised > 0
    for _ in range(HALVINGS + 1):
        if not open_.any():
            break
        tried = [torch.softmax(safe_log(q) - step[:, None] * g, dim=-1) for q, g in zip(beliefs, slope, strict=True)]
        after = _terms(model, evidence, log_prior, tried).free_energy
        good = open_ & (after <= before - SUFFICIENT * step * promised)
        chosen = [torch.where(good[:, None], x, q) for x, q in zip(tried, chosen, strict=True)]
        lowest, taken = torch.where(good, after, lowest), torch.where(good, step, taken)
        open_, step = open_ & ~good, step / 2
    return Descent(tuple(chosen), lowest, taken)


def energies(
    planner: Planner,
    observations: Sequence[Tensor],
    beliefs: Sequence[Tensor],
    prior: Sequence[Tensor] | None = None,
) -> Energies:
    """F of the beliefs about the present, and what each policy is expected to cost from there.

    The planner's model is the one to judge by; made with ``parameter_information_gain`` it tells those terms too, which
    are zero otherwise. Arguments and errors as in :func:`variational_terms`.
    """
    variational = variational_terms(planner.model, observations, beliefs, prior)
    return Energies(variational, planner.decompose(tuple(beliefs)))


def _evidence(
    model: GenerativeModel,
    observations: Sequence[Tensor],
    beliefs: Sequence[Tensor] | None,
    prior: Sequence[Tensor] | None,
) -> tuple[list[Tensor], list[Tensor]]:
    """ln P(o_m | s) and ln prior_f, of arguments that fit."""
    given = model.D if prior is None else prior
    n = batch_size(model, observations, given)
    if model.agents not in (1, n):
        raise ValueError(f"observations are of {n} agents; write those of the {model.agents} that the model is for")
    if prior is not None:
        _check("prior", model, prior, (1, n))
    if beliefs is not None:
        _check("beliefs", model, beliefs, (n,))
    evidence = [log_likelihood(model, m, o) for m, o in enumerate(observations)]
    return evidence, [safe_log(p).expand(n, -1) for p in given]


def _check(label: str, model: GenerativeModel, q: Sequence[Tensor], agents: tuple[int, ...]) -> None:
    if len(q) != len(model.factors):
        raise ValueError(f"{label} has length {len(q)}; write {len(model.factors)} tensors, one for each factor")
    for f, (factor, size, x) in enumerate(zip(model.factors, model.num_states, q, strict=True)):
        name = f"{label}[{f}] ({factor.name!r})"
        if x.shape not in [(n, size) for n in agents]:
            raise ValueError(f"{name} has shape {tuple(x.shape)}; write {(agents[-1], size)}, a row for each agent")
        if x.dtype != model.dtype:
            raise ValueError(f"{name} is {x.dtype}; write {model.dtype}, as the model is")
        check_finite(name, x.cpu().numpy())
        check_distribution(name, x.cpu().numpy())


def _terms(
    model: GenerativeModel, evidence: list[Tensor], log_prior: list[Tensor], beliefs: Sequence[Tensor]
) -> VariationalTerms:
    complexity = [((safe_log(q) - p) * q).sum(dim=-1) for q, p in zip(beliefs, log_prior, strict=True)]
    pairs = zip(evidence, model.modalities, strict=True)
    accuracy = [expectation(x, modality.factors, beliefs) for x, modality in pairs]
    return VariationalTerms(torch.stack(complexity, dim=1), torch.stack(accuracy, dim=1))


def _gradient(
    model: GenerativeModel, evidence: list[Tensor], log_prior: list[Tensor], beliefs: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    slopes = []
    for f, (q, p) in enumerate(zip(beliefs, log_prior, strict=True)):
        g = safe_log(q) - p
        for x, modality in zip(evidence, model.modalities, strict=True):
            if f in modality.factors:
                g = g - expectation(x, modality.factors, beliefs, keep=f)
        slopes.append(q * (g - (q * g).sum(dim=-1, keepdim=True)))
    return tuple(slopes)
