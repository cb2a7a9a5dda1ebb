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

import math
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import torch
from torch import Tensor

from . import learning
from .appraisal import PHASIC, Appraisal, Appraiser, Drives, drive
from .couplings import Couplings, Modulation, modulated_model, modulation, phasic_precision, step_weights
from .expected_free_energy import Planner
from .inference import Method, StateInference, evidence_of_actions, infer_states, predict_states
from .model import GenerativeModel
from .modulator_parameters import OPPONENT_PROCESS, ModulatorParameters
from .neuromodulators import ModulatorState, Neuromodulators
from .numerics import negative_entropy
from .philox import Philox
from .selection import Mode, most_probable, policy_posterior, select_action
from .workspace import GlobalWorkspace, Signals, WorkspaceParameters, WorkspaceState


@dataclass(frozen=True)
class CycleSettings:
    """How agents think. Numbers without a source in their comment are choices.

    precision: policy precision gamma at baseline; alpha: None acts on the most probable action, a number samples;
    discount_half_life: steps after which a future term of G counts half; gate: only broadcast modalities reach
    inference; learn_A, learn_B, learn_D: which Dirichlet counts grow (the model must have them; its A, B, D are then
    their means); retention: what is kept of learned counts of A and B per cycle; time_scale: seconds of the modulators
    and the workspace that one second of the stimuli is worth, for streams slower or faster than a mind; seed: of every
    random draw, below 2**64. Raises ValueError for a number out of its range.
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

    def __post_init__(self) -> None:
        for name, fits, remedy in (
            ("precision", 0 < self.precision < math.inf, "a finite number greater than 0"),
            ("alpha", self.alpha is None or 0 < self.alpha < math.inf, "a finite number greater than 0, or None"),
            ("selection", self.selection in get_args(Mode), f"one of {get_args(Mode)}"),
            ("method", self.method in get_args(Method), f"one of {get_args(Method)}"),
            ("discount_half_life", self.discount_half_life > 0, "steps greater than 0, inf for no discount"),
            ("learning_rate", 0 <= self.learning_rate < math.inf, "a finite number of 0 or more"),
            ("retention", 0 <= self.retention <= 1, "a share between 0 and 1"),
            ("time_scale", 0 < self.time_scale < math.inf, "a finite number greater than 0"),
            ("seed", 0 <= self.seed < 1 << 64, "a whole number from 0 to 2**64 - 1"),
        ):
            if not fits:
                raise ValueError(f"{name} is {getattr(self, name)!r}; write {remedy}")

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
    """The state of N agents, in tensors that share no memory.

    agents: int64 (N,) their own numbers; step, trial_step: int64 (N,) cycles lived, in all and in this trial; prior,
    beliefs: (N, states_f) for each factor, before the next observation and after the last; action: int64 (N, factors),
    the last; pA, pB, pD: counts shaped as the model's, with the agents in front, None where nothing is learned.
    """

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
    surprise: Tensor  # (N,) -ln P(outcome) under the prediction, summed over modalities
    salience: Tensor  # (N, K)
    broadcast: Tensor  # bool (N, K)
    levels: Tensor  # (N, 5) modulators after the cycle


@dataclass(frozen=True)
class _Decision:
    """G, posterior: (N, policies); entropy of the posterior and precision it was made with: (N,); action: (N, F)."""

    G: Tensor
    posterior: Tensor
    precision: Tensor
    entropy: Tensor
    action: Tensor


class CognitiveCycle:
    """The cycle of one model under given settings.

    Raises ValueError for settings that learn what the model has no counts of.
    """

    def __init__(self, model: GenerativeModel, settings: CycleSettings | None = None) -> None:
        settings = CycleSettings() if settings is None else settings
        for flag, array in (("learn_A", model.pA), ("learn_B", model.pB), ("learn_D", model.pD)):
            if getattr(settings, flag) and array is None:
                counts = f"p{flag[-1]}"
                raise ValueError(f"{flag} needs Dirichlet counts; add {counts} to the model, or switch {flag} off")
        self.model, self.settings = model, settings
        self.modulators = Neuromodulators(settings.modulators)
        self.workspace = GlobalWorkspace(settings.workspace)
        self.baseline = torch.tensor(settings.modulators.baseline, dtype=torch.float64, device=model.device)
        self.generator = Philox(settings.seed)
        self._phasic = torch.tensor(PHASIC, device=model.device)
        self._combinations = math.prod(model.num_actions)
        self._appraise = Appraiser(model)
        self._planner = Planner(model, parameter_information_gain=settings.parameter_information_gain)
        self._learns = settings.learn_A or settings.learn_B
        # Uniform habits move nothing, whatever their weight.
        self._habits = None if torch.equal(model.E, model.E[:, :1].expand_as(model.E)) else model.E

    def initial(self, agents: Tensor | int, time: Tensor | float = 0.0) -> Population:
        """A population at rest. agents: how many, or their own numbers, int64 (N,); time: one or (N,) seconds.

        Raises ValueError for another number of agents than the model has arrays for.
        """
        model, settings = self.model, self.settings
        given = torch.arange(agents, device=model.device) if isinstance(agents, int) else agents
        ids = given.to(model.device, torch.int64, copy=True)
        n, combinations = len(ids), self._combinations
        if model.agents not in (1, n):
            raise ValueError(f"there are {n} agents and the model is for {model.agents}; write as many as it is for")
        counts: dict[str, Any] = {f"p{x}": None for x in "ABD" if not getattr(settings, f"learn_{x}")}
        own = learning.own_counts(replace(model, **counts), n)
        D = tuple(d.expand(n, -1).clone() for d in own.D)
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
            pA=own.pA,
            pB=own.pB,
            pD=own.pD,
        )

    @torch.inference_mode()
    def begin_trial(self, population: Population) -> Population:
        """The same agents, with what they learned and feel, before a new trial: beliefs back to D."""
        D = self.model.D if population.pD is None else tuple(map(learning.expected_distribution, population.pD))
        n = len(population.agents)
        prior, beliefs = (tuple(d.expand(n, -1).clone() for d in D) for _ in range(2))
        return replace(population, trial_step=torch.zeros_like(population.step), prior=prior, beliefs=beliefs)

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
        Raises ValueError for an outcome that a modality does not have, for shapes that do not fit and for time that
        runs backwards.
        """
        modulators = self.modulators.advance(population.modulators, seconds * self.settings.time_scale)
        if delta is not None:
            modulators = self._impulse(modulators, delta)
        levels = self.modulators.levels(modulators)
        factors = modulation(self.settings.couplings, levels, self.baseline)
        model = self._model(population, factors)

        appraiser = self._appraiser(population)
        appraisal = appraiser(model, population.prior, observations)
        workspace, salience, active = self._compete(population, appraisal, levels, modulators.time)
        evidence = self._gated(observations, active)
        inferred = infer_states(model, evidence, population.prior, method=self.settings.method)
        precision = (self.settings.precision * factors.policy_precision).to(model.dtype)
        confidence = self._confidence(model, population, evidence, precision)
        population = self._learn(population, evidence, inferred.beliefs, factors)
        model = self._model(population, factors) if self._learns else model

        decision = self._decide(model, population, inferred.beliefs, precision, factors)
        prospects = appraiser.prospects(population.prior, inferred.beliefs)
        driven = drive(self.settings.drives, appraisal, prospects, confidence, decision.entropy, model.num_policies)
        modulators = self.modulators.hold(modulators, driven * ~self._phasic)
        modulators = self._impulse(modulators, driven * self._phasic)
        after = replace(
            population,
            step=population.step + 1,
            trial_step=population.trial_step + 1,
            prior=predict_states(model, inferred.beliefs, decision.action),
            beliefs=inferred.beliefs,
            action=decision.action,
            anticipation=self._anticipate(decision),
            modulators=modulators,
            workspace=workspace,
        )
        return after, self._outcome(inferred, appraisal, decision, salience, active, modulators)

    def _impulse(self, modulators: ModulatorState, amount: Tensor) -> ModulatorState:
        # Only where something arrives: an event rule must not fire for one agent because another one felt something.
        return self.modulators.impulse(modulators, amount, where=(amount != 0).any(dim=1))

    def _outcome(
        self,
        inferred: StateInference,
        appraisal: Appraisal,
        decision: _Decision,
        salience: Tensor,
        active: Tensor,
        modulators: ModulatorState,
    ) -> Outcome:
        return Outcome(
            action=decision.action,
            policy=most_probable(decision.posterior),
            free_energy=inferred.free_energy,
            expected_free_energy=(decision.posterior * decision.G).sum(dim=-1),
            policy_entropy=decision.entropy,
            precision=decision.precision,
            surprise=appraisal.surprise.sum(dim=-1),
            salience=salience,
            broadcast=active,
            levels=self.modulators.levels(modulators),
        )

    def _model(self, population: Population, factors: Modulation) -> GenerativeModel:
        model = learning.with_counts(self.model, population.pA, population.pB) if self._learns else self.model
        return modulated_model(model, factors)

    def _appraiser(self, population: Population) -> Appraiser:
        """What is within reach follows from what was learned."""
        if not self._learns:
            return self._appraise
        return Appraiser(learning.with_counts(self.model, population.pA, population.pB))

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
        self, model: GenerativeModel, population: Population, evidence: tuple[Tensor, ...], precision: Tensor
    ) -> Tensor:
        """Phasic dopamine: did the observation favour the actions that promised most? (N,), zero at first."""
        likelihood = evidence_of_actions(model, population.beliefs, evidence)
        before = population.anticipation.probability
        after = torch.softmax(before.clamp_min(1e-30).log() + likelihood, dim=-1)
        change = phasic_precision(precision, before, after, -population.anticipation.value)
        return torch.where(population.trial_step > 0, change, torch.zeros_like(change))

    def _anticipate(self, decision: _Decision) -> Anticipation:
        n, policies = decision.posterior.shape
        grouped = decision.posterior.view(n, self._combinations, policies // self._combinations)
        probability = grouped.sum(dim=-1)
        value = (grouped * -decision.G.view(grouped.shape)).sum(dim=-1) / probability.clamp_min(1e-30)
        return Anticipation(probability, value)

    def _decide(
        self,
        model: GenerativeModel,
        population: Population,
        beliefs: tuple[Tensor, ...],
        precision: Tensor,
        factors: Modulation,
    ) -> _Decision:
        G = self._expected_free_energy(model, beliefs, factors)
        posterior = policy_posterior(G, precision, self._habits, factors.habit_weight)
        action = select_action(
            posterior,
            model.num_actions,
            mode=self.settings.selection,
            alpha=self.settings.alpha,
            generator=self.generator,
            agents=population.agents,
            step=population.step,
        )
        return _Decision(G, posterior, precision, -negative_entropy(posterior), action)

    def _expected_free_energy(self, model: GenerativeModel, beliefs: tuple[Tensor, ...], factors: Modulation) -> Tensor:
        weights = step_weights(self.settings.discount_half_life, model.horizon, factors)
        planner = self._planner
        if model is not self.model:
            planner = Planner(model, parameter_information_gain=self.settings.parameter_information_gain)
        return planner.expected_free_energy(beliefs, weights)

    def _learn(
        self, population: Population, evidence: tuple[Tensor, ...], beliefs: tuple[Tensor, ...], factors: Modulation
    ) -> Population:
        settings, changes = self.settings, dict[str, tuple[Tensor, ...]]()
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


def _faded(counts: tuple[Tensor, ...], initial: tuple[Tensor, ...] | None, retention: Tensor) -> tuple[Tensor, ...]:
    assert initial is not None
    return tuple(learning.forget(x, x0, retention) for x, x0 in zip(counts, initial, strict=True))
