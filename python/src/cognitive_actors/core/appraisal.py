"""What an observation means to an agent, and how that moves its neuromodulators.

Appraisal reads three things off each modality: how surprising its outcome is, how much it bears on what the agent
wants, and whether it is good or bad news. Drives turn them into what reaches the modulators:

    dopamine        prospects better or worse than predicted, and      Schultz 2016 (Dialogues Clin Neurosci 18:23)
                    confidence gained or lost in the chosen policy     Friston et al. 2014
    serotonin       good news minus bad news                           Daw, Kakade & Dayan 2002
    oxytocin        good news from social modalities                   Smith & Wang 2014
    cortisol        bad news while no policy stands out (uncontrollable threat)
    norepinephrine  surprise beyond the surprise expected              Sales et al. 2019; Dayan & Yu 2006

Dopamine and norepinephrine are phasic: they receive an impulse that decays. The other three are tonic: they receive
an input that is held until the next cycle, so that their levels follow the rate of news and not its sum.
The gains are choices: they set how far the levels leave their baselines, and no source fixes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .expected_free_energy import Planner
from .fused_tree import joint_belief
from .inference import batch_size, log_likelihood
from .model import GenerativeModel
from .numerics import floor, negative_entropy

#: A log-preference this far (nats) from indifference is good or bad news in full: e^3 is twenty times as wanted.
PREFERENCE_SCALE = 3.0
#: A change of the best value within reach by this much (nats) is fully relevant, as one nat is of surprise.
VALUE_SCALE = 1.0
#: Which modulators a drive reaches as an impulse, in the order of MODULATORS; the others as a held input.
PHASIC = (True, False, False, False, True)


@dataclass(frozen=True)
class Drives:
    """What each modulator receives for a full unit of what drives it: impulse, or held input (see :data:`PHASIC`)."""

    dopamine: float = 0.3
    serotonin: float = 0.3
    oxytocin: float = 0.3
    cortisol: float = 0.3
    norepinephrine: float = 0.1

    @classmethod
    def none(cls) -> Drives:
        """Modulators that only outside impulses move."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Appraisal:
    """Per agent and modality, each (agents, modalities), zero where nothing was observed.

    surprise: -ln P(o) under the prediction; expected_surprise: its expectation H[P(o)]; bayesian_surprise:
    KL[posterior || prior] of the modality's own evidence (Itti & Baldi 2009, Vision Res 49:1295), all three in nats;
    relevance in [0, 1]: how far that evidence moves the best value within reach; valence in [-1, 1]: whether the
    outcome itself is wanted more or less than the average one; observed, social: bool.
    """

    surprise: Tensor
    expected_surprise: Tensor
    bayesian_surprise: Tensor
    relevance: Tensor
    valence: Tensor
    observed: Tensor
    social: Tensor


class Appraiser:
    """Appraises observations under the goals of one model: what its next action can bring it."""

    def __init__(self, model: GenerativeModel) -> None:
        actions = math.prod(model.num_actions)
        goals = replace(model, horizon=1, E=model.E.new_full((1, actions), 1 / actions))
        self.value = Planner(goals, state_information_gain=False)
        self.social = torch.tensor([m.social for m in model.modalities], device=model.device)

    @torch.inference_mode()
    def __call__(
        self, model: GenerativeModel, prior: tuple[Tensor, ...], observations: tuple[Tensor, ...]
    ) -> Appraisal:
        """Compare outcomes with what the prior predicted.

        observations[m]: int64 (agents,), -1 where not observed; prior[f]: (agents or 1, states_f). ``model`` is the
        one to perceive by, which may be modulated. Errors as in ``infer_states``.
        """
        n = batch_size(model, observations, prior)
        for modality, o in zip(model.modalities, observations, strict=True):
            if o.dtype != torch.int64:
                raise ValueError(f"modality {modality.name!r} has {o.dtype} observations; write int64 outcome numbers")
        prior = tuple(q.expand(n, -1) for q in prior)
        evidence = [_weigh(model, m, prior, o) for m, o in enumerate(observations)]
        observed = torch.stack([o >= 0 for o in observations], dim=1)

        def seen(columns: Sequence[Tensor]) -> Tensor:
            return torch.stack(list(columns), dim=1) * observed

        return Appraisal(
            surprise=seen([e.surprise for e in evidence]),
            expected_surprise=seen([e.expected_surprise for e in evidence]),
            bayesian_surprise=seen([e.bayesian_surprise for e in evidence]),
            relevance=seen(self._relevance(prior, [e.beliefs for e in evidence])),
            valence=seen([_valence(model, m, o) for m, o in enumerate(observations)]),
            observed=observed,
            social=self.social.expand_as(observed),
        )

    def _relevance(self, prior: tuple[Tensor, ...], posteriors: list[tuple[Tensor, ...]]) -> list[Tensor]:
        """How far each modality's evidence by itself moves the value within reach, in units of VALUE_SCALE."""
        every = [prior, *posteriors]
        if self.value.model.shared:
            # A model that all share evaluates all these beliefs in one call.
            together = tuple(torch.cat([q[f] for q in every]) for f in range(len(prior)))
            before, *after = self._value(together).view(len(every), len(prior[0]))
        else:
            before, *after = [self._value(q) for q in every]
        return [((value - before).abs() / VALUE_SCALE).clamp_max(1) for value in after]

    @torch.inference_mode()
    def prospects(self, prior: tuple[Tensor, ...], beliefs: tuple[Tensor, ...]) -> Tensor:
        """The reward prediction error of an inference: how much better the best within reach became, in [-1, 1].

        Its mean is not zero but slightly above: knowing more is itself worth something, as one can choose better.

        prior[f], beliefs[f]: (agents, states_f) before and after -> (agents,).
        """
        return ((self._value(beliefs) - self._value(prior)) / VALUE_SCALE).clamp(-1, 1)

    def _value(self, beliefs: tuple[Tensor, ...]) -> Tensor:
        """Expected log-preference of the outcomes of the best next action, (agents,) nats."""
        return -self.value.expected_free_energy(beliefs).amin(dim=1)


@dataclass(frozen=True)
class _Evidence:
    """What one modality says by itself. Figures (agents,); beliefs[f]: (agents, states_f)."""

    surprise: Tensor
    expected_surprise: Tensor
    bayesian_surprise: Tensor
    beliefs: tuple[Tensor, ...]


def _weigh(model: GenerativeModel, m: int, prior: tuple[Tensor, ...], o: Tensor) -> _Evidence:
    factors = model.modalities[m].factors
    n = len(o)
    joint = joint_belief(tuple(prior[f] for f in factors))
    A = model.A[m].flatten(2)
    predicted = joint @ A[0].T if A.shape[0] == 1 else torch.bmm(A, joint[:, :, None])[:, :, 0]
    log_l = log_likelihood(model, m, o).flatten(1)
    weighted = joint * log_l.exp()
    p = weighted.sum(dim=-1).clamp_min(floor(joint))
    surprise = -p.log()
    posterior = weighted / p[:, None]
    marginals = posterior.view(n, *(model.num_states[f] for f in factors))
    beliefs = list(prior)
    for i, f in enumerate(factors):
        others = [1 + j for j in range(len(factors)) if j != i]
        beliefs[f] = marginals.sum(dim=others) if others else marginals
    return _Evidence(
        surprise=surprise,
        expected_surprise=-negative_entropy(predicted),
        bayesian_surprise=((posterior * log_l).sum(dim=-1) + surprise).clamp_min(0),
        beliefs=tuple(beliefs),
    )


def _valence(model: GenerativeModel, m: int, o: Tensor) -> Tensor:
    C = model.C[m][:, 0]
    preference = C.expand(len(o), -1).gather(1, o.clamp_min(0)[:, None])[:, 0]
    return torch.tanh((preference - C.mean(dim=-1)) / PREFERENCE_SCALE)


def drive(
    drives: Drives,
    appraisal: Appraisal,
    prospects: Tensor,
    confidence: Tensor,
    policy_entropy: Tensor,
    num_policies: int,
) -> Tensor:
    """What drives each of the five modulators, (agents, 5) float64: impulses and held inputs as PHASIC says.

    prospects: (agents,) as of :meth:`Appraiser.prospects`; confidence: (agents,) relative change of policy precision
    in [-1, 1]; policy_entropy: (agents,) nats.
    """
    count = appraisal.observed.sum(dim=-1).clamp_min(1)
    news = (prospects + appraisal.valence.sum(dim=-1)).clamp(-1, 1)
    social = (appraisal.valence.clamp_min(0) * appraisal.social).sum(dim=-1)
    undecided = policy_entropy / math.log(num_policies) if num_policies > 1 else torch.zeros_like(policy_entropy)
    # Signed: to an agent whose model is right, surprises and their absence even out and leave the baseline alone.
    unexpected = ((appraisal.surprise - appraisal.expected_surprise).sum(dim=-1) / count).clamp(-1, 1)
    return torch.stack(
        [
            drives.dopamine * (prospects + confidence).clamp(-1, 1),
            drives.serotonin * news,
            drives.oxytocin * social.clamp_max(1),
            drives.cortisol * news.neg().clamp_min(0) * undecided,
            drives.norepinephrine * unexpected,
        ],
        dim=-1,
    ).double()
