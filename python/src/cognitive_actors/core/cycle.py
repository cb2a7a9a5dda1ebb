"""One cognitive cycle of a batch of agents: perceive, compete, broadcast, infer, decide, act, feel.

    perceive   modulators decay to the present; each modality's evidence and its Bayesian surprise
    compete    salience of every modality under the modulators' gains
    broadcast  what ignites enters the global workspace; with ``gate`` only that reaches inference
    infer      beliefs about hidden states, variational free energy, learning
    decide     expected free energy of all policies, and their posterior under the modulated precision
    act        the next action, and the prediction of what it leads to
    feel       surprise, valence and confidence move the modulators

A population is a value: ``step`` takes one and returns the next. Nothing here knows of Ray, files or the clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from . import learning
from .appraisal import Appraisal, Appraiser, Drives, drive
from .couplings import Couplings, Modulation, modulated_model, modulation, phasic_precision, step_weights
from .expected_free_energy import Planner
from .inference import Method, infer_states, log_likelihood, predict_states
from .model import GenerativeModel
from .modulator_parameters import OPPONENT_PROCESS, ModulatorParameters
from .neuromodulators import Neuromodulators, ModulatorState
from .numerics import negative_entropy
from .philox import Philox
from .policies import first_actions
from .prefix_tree import contract
from .selection import Mode, policy_posterior, select_action
from .workspace import GlobalWorkspace, Signals, WorkspaceParameters, WorkspaceState


@dataclass(frozen=True)
class CycleSettings:
    """How agents think. Numbers without a source in their comment are choices.

    precision: policy precision gamma at baseline; alpha: None acts on the most probable action, a number samples;
    discount_half_life: steps after which a future term of G counts half; gate: only broadcast modalities reach
    inference; learn_A, learn_B, learn_D: which Dirichlet counts grow (the model must have them); retention: what
    is kept of learned counts per cycle; time_scale: seconds of the modulators and the workspace that one second of the
    stimuli is worth, for streams slower or faster than a mind.
    """

    precision: float = 4.0
    alpha: float | None = None
    selection: Mode = "marginal"
    method: Method = "fixed-point"
    discount_half_life: float = 8.0
    parameter_information_gain: bool = False
    learn_A: bool = False
    learn_B: bool = False
    learn_D: bool = False
    learning_rate: float = 1.0
    retention: float = 1.0
    gate: bool = False
    seed: int = 0
    time_scale: float = 1.0
    couplings: Couplings = field(default_factory=Couplings)
    drives: Drives = field(default_factory=Drives)
    modulators: ModulatorParameters = OPPONENT_PROCESS
    workspace: WorkspaceParameters = field(default_factory=WorkspaceParameters)

    @classmethod
    def plain(cls, **changes: object) -> CycleSettings:
        """The plain engine: no coupling, no drive, no discount. ``changes`` set any other field."""
        base = cls(couplings=Couplings.none(), drives=Drives.none(), discount_half_life=float("inf"))
        return replace(base, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Anticipation:
    """What was expected of each first action when the last action was chosen, to be compared with what came.

    probability: P(first action combination), value: its expected -G; both (agents, combinations).
    """

    probability: Tensor
    value: Tensor


@dataclass(frozen=True)
class Population:
    """The state of N agents. agents: int64 (N,) their own numbers; step, trial_step: int64 (N,) cycles lived, in all
    and in this trial."""

    agents: Tensor
    step: Tensor
    trial_step: Tensor
    prior: tuple[Tensor, ...]
    beliefs: tuple[Tensor, ...]
    action: Tensor
    anticipation: Anticipation
    modulators: ModulatorState
    workspace: WorkspaceState
    pA: tuple[Tensor, ...] | None
    pB: tuple[Tensor, ...] | None
    pD: tuple[Tensor, ...] | None

    @property
    def time(self) -> Tensor:
        """Each agent's own clock in scaled seconds, (N,) float64."""
        return self.modulators.time


@dataclass(frozen=True)
class Outcome:
    """What one cycle of N agents came to. Energies in nats; K modalities, F factors."""

    action: Tensor  # int64 (N, F)
    policy: Tensor  # int64 (N,), the most probable policy
    free_energy: Tensor  # (N,) variational
    expected_free_energy: Tensor  # (N,) of the policies, weighted by their posterior
    policy_entropy: Tensor  # (N,)
    precision: Tensor  # (N,)
    surprise: Tensor  # (N,) -ln P(observation) under the prediction
    salience: Tensor  # (N, K)
    broadcast: Tensor  # bool (N, K)
    levels: Tensor  # (N, 5) modulators after the cycle


class CognitiveCycle:
    """The cycle of one model under given settings."""

    def __init__(self, model: GenerativeModel, settings: CycleSettings | None = None) -> None:
        settings = CycleSettings() if settings is None else settings
        for flag, counts in (("learn_A", model.pA), ("learn_B", model.pB), ("learn_D", model.pD)):
            if getattr(settings, flag) and counts is None:
                raise ValueError(f"{flag} needs the Dirichlet counts p{flag[-1]}: add them to the model, or switch it off")
        self.model, self.settings = model, settings
        self.modulators = Neuromodulators(settings.modulators)
        self.workspace = GlobalWorkspace(settings.workspace)
        self.baseline = torch.tensor(settings.modulators.baseline, dtype=torch.float64, device=model.device)
        self.generator = Philox(settings.seed)
        self.combinations = first_actions(model)
        self._appraise = Appraiser(model)
        self._planner = Planner(model, parameter_information_gain=settings.parameter_information_gain)
        self._learns = settings.learn_A or settings.learn_B

    def initial(self, agents: Tensor | int, time: Tensor | float = 0.0) -> Population:
        """A population at rest. agents: how many, or their own numbers, int64 (N,); time: one or (N,) seconds."""
        ids = torch.arange(agents) if isinstance(agents, int) else agents.to(torch.int64)
        n, model = len(ids), self.model
        ids = ids.to(model.device)
        own = learning.own_counts(model, n)
        D = tuple(d.expand(n, -1).clone() for d in own.D)
        combinations = len(self.combinations)
        return Population(
            agents=ids,
            step=torch.zeros_like(ids),
            trial_step=torch.zeros_like(ids),
            prior=D,
            beliefs=tuple(d.clone() for d in D),
            action=ids.new_zeros(n, len(model.factors)),
            anticipation=Anticipation(
                D[0].new_full((n, combinations), 1 / combinations), D[0].new_zeros(n, combinations)
            ),
            modulators=self.modulators.initial(n, time=time, device=model.device),
            workspace=self.workspace.initial(n, len(model.modalities), time=time, device=model.device),
            pA=own.pA if self.settings.learn_A else None,
            pB=own.pB if self.settings.learn_B else None,
            pD=own.pD if self.settings.learn_D else None,
        )

    @torch.inference_mode()
    def begin_trial(self, population: Population) -> Population:
        """The same agents, with what they learned and feel, before a new trial: beliefs back to D."""
        D = self.model.D if population.pD is None else tuple(map(learning.expected_distribution, population.pD))
        n = len(population.agents)
        prior = tuple(d.expand(n, -1).clone() for d in D)
        return replace(population, trial_step=torch.zeros_like(population.step), prior=prior, beliefs=prior)

    @torch.inference_mode()
    def step(
        self,
        population: Population,
        observations: tuple[Tensor, ...],
        seconds: Tensor | float = 1.0,
        delta: Tensor | None = None,
    ) -> tuple[Population, Outcome]:
        """One cycle of every agent.

        observations[m]: int64 (N,), -1 where modality m was not observed; seconds: since the last cycle, >= 0, one
        number or (N,); delta: (N, 5) impulses to the modulators that arrive with the stimulus.
        """
        modulators = self.modulators.advance(population.modulators, seconds * self.settings.time_scale)
        if delta is not None:
            modulators = self.modulators.impulse(modulators, delta)
        levels = self.modulators.levels(modulators)
        factors = modulation(self.settings.couplings, levels, self.baseline)
        model = self._model(population, factors)

        appraisal = self._appraise(model, population.prior, observations)
        workspace, salience, active = self._compete(population, appraisal, levels, modulators.time)
        evidence = self._gated(observations, active)
        inferred = infer_states(model, evidence, population.prior, method=self.settings.method)
        precision = (self.settings.precision * factors.policy_precision).to(model.dtype)
        confidence = self._confidence(model, population, observations, precision)
        population = self._learn(population, evidence, inferred.beliefs, factors)
        model = self._model(population, factors) if self._learns else model

        G = self._expected_free_energy(model, inferred.beliefs, factors)
        posterior = policy_posterior(G, precision, self._habits(model), factors.habit_weight.to(model.dtype))
        action = select_action(
            posterior,
            model.num_actions,
            mode=self.settings.selection,
            alpha=self.settings.alpha,
            generator=self.generator,
            agents=population.agents,
            step=population.step,
        )
        policy_entropy = -negative_entropy(posterior)
        prospects = self._appraise.prospects(population.prior, inferred.beliefs)
        modulators = self.modulators.impulse(
            modulators,
            drive(self.settings.drives, appraisal, prospects, confidence, policy_entropy, model.num_policies),
        )
        after = replace(
            population,
            step=population.step + 1,
            trial_step=population.trial_step + 1,
            prior=predict_states(model, inferred.beliefs, action),
            beliefs=inferred.beliefs,
            action=action,
            anticipation=self._anticipate(posterior, G),
            modulators=modulators,
            workspace=workspace,
        )
        outcome = Outcome(
            action=action,
            policy=posterior.argmax(dim=-1),
            free_energy=inferred.free_energy,
            expected_free_energy=(posterior * G).sum(dim=-1),
            policy_entropy=policy_entropy,
            precision=precision,
            surprise=appraisal.surprise.sum(dim=-1),
            salience=salience,
            broadcast=active,
            levels=self.modulators.levels(modulators),
        )
        return after, outcome

    def _model(self, population: Population, factors: Modulation) -> GenerativeModel:
        model = learning.with_counts(self.model, population.pA, population.pB) if self._learns else self.model
        return modulated_model(model, factors)

    def _compete(
        self, population: Population, appraisal: Appraisal, levels: Tensor, time: Tensor
    ) -> tuple[WorkspaceState, Tensor, Tensor]:
        state = self.workspace.advance(population.workspace, time - population.workspace.time)
        signals = Signals(
            surprise=appraisal.bayesian_surprise.double(),
            relevance=appraisal.relevance.double(),
            valence=appraisal.valence.double(),
            threat=appraisal.valence < 0,
            social=appraisal.social,
            age=torch.zeros_like(appraisal.valence, dtype=torch.float64),
            present=appraisal.observed,
        )
        salience = self.workspace.salience(state, signals, levels, self.baseline)
        competition = self.workspace.compete(state, salience, levels, self.baseline)
        return competition.state, salience, competition.active

    def _gated(self, observations: tuple[Tensor, ...], active: Tensor) -> tuple[Tensor, ...]:
        if not self.settings.gate:
            return observations
        return tuple(torch.where(active[:, m], o, -1) for m, o in enumerate(observations))

    def _confidence(
        self, model: GenerativeModel, population: Population, observations: tuple[Tensor, ...], precision: Tensor
    ) -> Tensor:
        """Phasic dopamine: did the observation favour the actions that promised most? (N,), zero at first."""
        evidence = _evidence_of_actions(model, population.beliefs, observations)
        before = population.anticipation.probability
        after = torch.softmax(before.clamp_min(1e-30).log() + evidence, dim=-1)
        change = phasic_precision(precision, before, after, -population.anticipation.value)
        return torch.where(population.trial_step > 0, change, torch.zeros_like(change))

    def _anticipate(self, posterior: Tensor, G: Tensor) -> Anticipation:
        n = len(posterior)
        grouped = posterior.view(n, len(self.combinations), -1)
        probability = grouped.sum(dim=-1)
        value = (grouped * -G.view(grouped.shape)).sum(dim=-1) / probability.clamp_min(1e-30)
        return Anticipation(probability, value)

    def _expected_free_energy(self, model: GenerativeModel, beliefs: tuple[Tensor, ...], factors: Modulation) -> Tensor:
        weights = step_weights(self.settings.discount_half_life, model.horizon, factors)
        weights = None if weights is None else weights.to(model.dtype)
        planner = self._planner
        if model is not self.model:
            planner = Planner(model, parameter_information_gain=self.settings.parameter_information_gain)
        return planner.expected_free_energy(beliefs, weights)

    def _habits(self, model: GenerativeModel) -> Tensor | None:
        uniform = bool((model.E == model.E[:, :1]).all())
        return None if uniform else model.E

    def _learn(
        self, population: Population, evidence: tuple[Tensor, ...], beliefs: tuple[Tensor, ...], factors: Modulation
    ) -> Population:
        settings, changes = self.settings, {}
        retention = (settings.retention * factors.retention).clamp(0, 1)
        if population.pA is not None:
            model = replace(self.model, pA=_faded(population.pA, self.model.pA, retention))
            changes["pA"] = learning.update_likelihood_counts(model, evidence, beliefs, settings.learning_rate)
        lived = (population.trial_step > 0).to(beliefs[0].dtype)
        if population.pB is not None:
            model = replace(self.model, pB=_faded(population.pB, self.model.pB, retention))
            # Before the first action there is no transition to learn from.
            before = tuple(q * lived[:, None] for q in population.beliefs)
            changes["pB"] = learning.update_transition_counts(
                model, before, beliefs, population.action, settings.learning_rate
            )
        if population.pD is not None:
            model = replace(self.model, pD=population.pD)
            first = tuple(q * (1 - lived[:, None]) for q in beliefs)
            changes["pD"] = learning.update_initial_counts(model, first, settings.learning_rate)
        return replace(population, **changes) if changes else population  # type: ignore[arg-type]


def _faded(
    counts: tuple[Tensor, ...], initial: tuple[Tensor, ...] | None, retention: Tensor
) -> tuple[Tensor, ...]:
    assert initial is not None
    return tuple(learning.forget(x, x0, retention) for x, x0 in zip(counts, initial, strict=True))


def _evidence_of_actions(
    model: GenerativeModel, beliefs: tuple[Tensor, ...], observations: tuple[Tensor, ...]
) -> Tensor:
    """ln P(observations | first action) for every combination of actions: (agents, combinations)."""
    n = len(beliefs[0])
    every = torch.arange(n, device=beliefs[0].device)
    moved = []
    for f, u in enumerate(model.num_actions):
        choices = [predict_states(model, beliefs, every.new_full((n, len(model.factors)), a))[f] for a in range(u)]
        moved.append(torch.stack(choices, dim=1))
    total = beliefs[0].new_zeros(n, *model.num_actions)
    for m, (modality, o) in enumerate(zip(model.modalities, observations, strict=True)):
        likelihood = log_likelihood(model, m, o).exp()
        order = modality.factors
        p = contract(likelihood.reshape(n, model.num_states[order[0]], -1), [moved[f] for f in order], 1)[..., 0]
        # ``contract`` returns the last factor first.
        back = sorted(range(len(order)), key=lambda i, r=order[::-1]: r[i])
        p = p.permute(0, *(1 + i for i in back))
        shape = [u if f in order else 1 for f, u in enumerate(model.num_actions)]
        total = total + p.clamp_min(torch.finfo(p.dtype).tiny).log().reshape(n, *shape)
    return total.flatten(1)
