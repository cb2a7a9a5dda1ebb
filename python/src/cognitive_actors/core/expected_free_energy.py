"""Expected free energy of every policy, in total and term by term.

For each step tau of a policy, with q(o) the predicted outcomes and q(s) the predicted states (nats throughout):

    risk       KL[q(o) || P(o)]        utility    E_q(o) ln P(o)
    ambiguity  E_q(s) H[P(o | s)]      state information gain    H[q(o)] - ambiguity
    G = risk + ambiguity - parameter information gain
      = - utility - state information gain - parameter information gain

The two lines are the same number. A policy is better the lower its G. pymdp's ``neg_efe`` is -G for preferences that
are normalised, as C is here. Modalities are treated as independent given the predicted state distribution, as in
SPM and pymdp; see :func:`joint_state_information_gain` for what that overstates.

Sources: Friston et al. 2015 (Cogn Neurosci 6:187); Da Costa et al. 2020 (J Math Psychol 99:102447).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .fused_tree import FusedTree, joint_belief, worth_fusing
from .model import GenerativeModel
from .novelty import novelty_weights
from .numerics import negative_entropy
from .prefix_tree import PrefixTree, Readout

#: Temporaries of one chunk of agents: small enough to stay in the second-level cache of one core.
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Terms:
    """The terms of G per agent, policy and step, each (agents, policies, horizon), in nats."""

    risk: Tensor
    ambiguity: Tensor
    utility: Tensor
    state_information_gain: Tensor
    likelihood_information_gain: Tensor
    transition_information_gain: Tensor

    @property
    def total(self) -> Tensor:
        """G per agent and policy from risk and ambiguity, (agents, policies)."""
        gain = self.likelihood_information_gain + self.transition_information_gain
        return (self.risk + self.ambiguity - gain).sum(dim=-1)


class Planner:
    """Evaluates all policies of a model for a batch of beliefs. Made once per model; holds no state of agents."""

    def __init__(
        self,
        model: GenerativeModel,
        *,
        utility: bool = True,
        state_information_gain: bool = True,
        parameter_information_gain: bool = False,
    ) -> None:
        """The switches leave terms out of G, for ablations; ``parameter_information_gain`` needs counts pA or pB."""
        if parameter_information_gain and model.pA is None and model.pB is None:
            raise ValueError(
                "parameter_information_gain needs Dirichlet counts: give the model pA or pB, or leave it out"
            )
        self.model = model
        self.entropy = state_information_gain
        self.tree = PrefixTree(model)
        self.ambiguity = [-negative_entropy(A.movedim(1, -1))[:, None] for A in model.A]
        steps = max(C.shape[1] for C in model.C)
        self.utility = [[_expected_preference(model, m, t) for m in range(len(model.A))] for t in range(steps)]
        self.linear = [
            [u.neg() * utility + a * state_information_gain for u, a in zip(row, self.ambiguity, strict=True)]
            for row in self.utility
        ]
        counts = parameter_information_gain
        self.likelihood_novelty = [novelty_weights(p) for p in model.pA] if counts and model.pA else None
        self.transition_novelty = [novelty_weights(p) for p in model.pB] if counts and model.pB else None
        self.controls = [tuple(sorted(f for f in m.factors if model.factors[f].controllable)) for m in model.modalities]
        self.fused = None
        if worth_fusing(model) and not counts:
            self.fused = FusedTree(model, [self._at(self.linear, t) for t in range(model.horizon)])
        self.readouts = [] if self.fused is not None else self._readouts(self.linear)
        self.chunk = self._chunk()

    @torch.inference_mode()
    def expected_free_energy(self, beliefs: tuple[Tensor, ...], step_weights: Tensor | None = None) -> Tensor:
        """G of every policy.

        beliefs[f]: (agents, states_f), about the present; step_weights: (agents or 1, horizon), how much each future
        step counts (1 by default) -> (agents, policies) in nats, policies in the order of ``policy_actions``.
        """
        n = beliefs[0].shape[0]
        if n <= self.chunk:
            return self._evaluate(beliefs, step_weights, slice(0, n))
        out = beliefs[0].new_empty(n, self.model.num_policies)
        for start in range(0, n, self.chunk):
            agents = slice(start, min(start + self.chunk, n))
            weights = step_weights if step_weights is None or step_weights.shape[0] == 1 else step_weights[agents]
            out[agents] = self._evaluate(tuple(q[agents] for q in beliefs), weights, agents)
        return out

    @torch.inference_mode()
    def decompose(self, beliefs: tuple[Tensor, ...]) -> Terms:
        """Every term of every policy at every step; larger and slower than :meth:`expected_free_energy`."""
        parts = _TermSums(self, beliefs)
        return parts.terms()

    def _evaluate(self, beliefs: tuple[Tensor, ...], weights: Tensor | None, agents: slice) -> Tensor:
        if self.fused is not None:
            return self._accumulate(self.fused(joint_belief(beliefs), self.entropy), weights)
        sums: dict[tuple[int, ...], Tensor] = {}
        previous = {f: q[:, None, :] for f, q in enumerate(beliefs)}
        for t, level in enumerate(self.tree.levels(beliefs, agents)):
            for controls, g in self._level(t, previous, level, agents):
                g = g if weights is None else g * weights[:, t].view(-1, *[1] * (g.dim() - 1))
                sums[controls] = self.tree.extend(sums[controls], g, controls, t + 1) if t else g
            previous = level
        total: Tensor | None = None
        for controls, values in sums.items():
            part = self.tree.to_policies(values, controls)
            total = part if total is None else total + part
        assert total is not None
        full = total.expand(total.shape[0], *self._policy_shape())
        return full.reshape(full.shape[0], -1)

    def _level(
        self, t: int, previous: dict[int, Tensor], level: dict[int, Tensor], agents: slice
    ) -> list[tuple[tuple[int, ...], Tensor]]:
        """g of one step, one entry per set of control factors."""
        groups: dict[tuple[int, ...], Tensor] = {}

        def add(controls: tuple[int, ...], g: Tensor) -> None:
            g = g.reshape(g.shape[0], *(self.model.num_actions[f] ** (t + 1) for f in controls))
            groups[controls] = groups[controls] + g if controls in groups else g

        for m, readout in enumerate(self.readouts):
            predicted = readout(level, agents)
            outcomes = self.model.num_outcomes[m]
            g = predicted[..., outcomes + min(t, len(self.linear) - 1)]
            if self.entropy:
                g = g + negative_entropy(predicted[..., :outcomes])
            if self.likelihood_novelty is not None:
                g = g - (predicted[..., :outcomes] * self.novelty_readouts[m](level, agents)).sum(dim=-1)
            add(self.controls[m], g)
        for f, w in enumerate(self.transition_novelty or ()):
            add((f,) if self.model.factors[f].controllable else (), -_transition_gain(w, previous[f], level[f], agents))
        return list(groups.items())

    def _accumulate(self, g: Tensor, weights: Tensor | None) -> Tensor:
        """Sum (n, prefixes) over the steps of each policy -> (n, policies)."""
        assert self.fused is not None
        total: Tensor | None = None
        for t, level in enumerate(g.split(self.fused.prefixes, dim=1)):
            level = level if weights is None else level * weights[:, t : t + 1]
            if total is None:
                total = level
            else:
                total = (level.reshape(g.shape[0], total.shape[1], -1) + total[:, :, None]).flatten(1)
        assert total is not None
        return total

    def _readouts(self, linear: list[list[Tensor]]) -> list[Readout]:
        if self.likelihood_novelty is not None:
            self.novelty_readouts = [Readout(self.model, m, w) for m, w in enumerate(self.likelihood_novelty)]
        return [
            Readout(self.model, m, _join_columns([A, *(row[m] for row in linear)])) for m, A in enumerate(self.model.A)
        ]

    def _at(self, rows: list[list[Tensor]], t: int) -> list[Tensor]:
        return rows[min(t, len(rows) - 1)]

    def _policy_shape(self) -> list[int]:
        return [n for n in self.model.num_actions if n > 1] * self.model.horizon

    def _chunk(self) -> int:
        """How many agents' largest temporary fits into CHUNK_BYTES."""
        model = self.model
        if self.fused is not None:
            largest = self.fused.outcomes.shape[1]
        else:
            largest = max(
                (r.width + 1) * math.prod(model.num_actions[f] ** model.horizon for f in controls)
                for r, controls in zip(self.readouts, self.controls, strict=True)
            )
        return max(1, CHUNK_BYTES // (largest * model.A[0].element_size()))


class _TermSums:
    """Evaluates each term by itself, step by step, over the prefix tree."""

    def __init__(self, planner: Planner, beliefs: tuple[Tensor, ...]) -> None:
        self.planner, self.beliefs = planner, beliefs
        model = planner.model
        self.shape = planner._policy_shape()
        self.agents = slice(0, beliefs[0].shape[0])
        self.readouts = [
            Readout(model, m, _join_columns([A, planner.ambiguity[m], *(row[m] for row in planner.utility)]))
            for m, A in enumerate(model.A)
        ]
        self.novelty = (
            [Readout(model, m, w) for m, w in enumerate(planner.likelihood_novelty)]
            if planner.likelihood_novelty is not None
            else None
        )

    def terms(self) -> Terms:
        planner, model = self.planner, self.planner.model
        n, horizon = self.agents.stop, model.horizon
        names = ("entropy", "ambiguity", "utility", "likelihood", "transition")
        sums = {name: self.beliefs[0].new_zeros(n, *self.shape, horizon) for name in names}
        previous = {f: q[:, None, :] for f, q in enumerate(self.beliefs)}
        for t, level in enumerate(planner.tree.levels(self.beliefs, self.agents)):
            for m, readout in enumerate(self.readouts):
                outcomes, controls = model.num_outcomes[m], planner.controls[m]
                y = readout(level, self.agents)
                values = {
                    "entropy": -negative_entropy(y[..., :outcomes]),
                    "ambiguity": y[..., outcomes],
                    "utility": y[..., outcomes + 1 + min(t, len(planner.utility) - 1)],
                }
                if self.novelty is not None:
                    values["likelihood"] = (y[..., :outcomes] * self.novelty[m](level, self.agents)).sum(dim=-1)
                for name, g in values.items():
                    sums[name][..., t] += self._spread(g, controls, t + 1)
            for f, w in enumerate(planner.transition_novelty or ()):
                controls = (f,) if model.factors[f].controllable else ()
                gain = _transition_gain(w, previous[f], level[f], self.agents)
                sums["transition"][..., t] += self._spread(gain, controls, t + 1)
            previous = level
        flat = {name: x.reshape(n, -1, horizon) for name, x in sums.items()}
        return Terms(
            risk=-flat["entropy"] - flat["utility"],
            ambiguity=flat["ambiguity"],
            utility=flat["utility"],
            state_information_gain=flat["entropy"] - flat["ambiguity"],
            likelihood_information_gain=flat["likelihood"],
            transition_information_gain=flat["transition"],
        )

    def _spread(self, g: Tensor, controls: tuple[int, ...], step: int) -> Tensor:
        """Values of the prefixes of length ``step`` repeated for every policy that starts with them."""
        model = self.planner.model
        rest = [model.num_actions[f] ** (model.horizon - step) for f in controls]
        n = g.shape[0]
        prefixes = [model.num_actions[f] ** step for f in controls]
        g = g.reshape(n, *(x for p in prefixes for x in (p, 1)))
        g = g.expand(n, *(x for p, r in zip(prefixes, rest, strict=True) for x in (p, r)))
        return self.planner.tree.to_policies(
            g.reshape(n, *(p * r for p, r in zip(prefixes, rest, strict=True))), controls
        )


def joint_state_information_gain(model: GenerativeModel, beliefs: tuple[Tensor, ...]) -> Tensor:
    """Mutual information between the hidden state and all modalities together, for the given beliefs.

    beliefs[f]: (agents, states_f) -> (agents,) nats. Summed over modalities one by one, as G does, two copies of
    one modality count twice; this exact figure counts them once. It enumerates every combination of outcomes, so
    it is meant for small models.
    """
    joint = joint_belief(beliefs)
    n = joint.shape[0]
    likelihood = joint.new_ones(1, 1, joint.shape[1])
    ambiguity = joint.new_zeros(1, joint.shape[1])
    for m, A in enumerate(model.A):
        factors = model.modalities[m].factors
        ascending = sorted(range(len(factors)), key=lambda i: factors[i])
        shape = [s if f in factors else 1 for f, s in enumerate(model.num_states)]
        a = A.permute(0, 1, *(2 + i for i in ascending)).reshape(A.shape[0], A.shape[1], *shape)
        a = a.expand(-1, -1, *model.num_states).flatten(2)
        ambiguity = ambiguity - negative_entropy(a.movedim(1, -1))
        likelihood = (likelihood[:, :, None] * a[:, None]).flatten(1, 2)
    predicted = (likelihood * joint[:, None, :]).sum(dim=-1).view(n, -1)
    return -negative_entropy(predicted) - (ambiguity * joint).sum(dim=-1)


def _expected_preference(model: GenerativeModel, m: int, t: int) -> Tensor:
    """E_{P(o|s)} ln P(o) for each state: (batch, 1, states of the modality's factors ...)."""
    C = model.C[m][:, min(t, model.C[m].shape[1] - 1)]
    A = model.A[m]
    return (C.view(C.shape[0], C.shape[1], *[1] * (A.dim() - 2)) * A).sum(dim=1, keepdim=True)


def _transition_gain(weights: Tensor, previous: Tensor, level: Tensor, agents: slice) -> Tensor:
    """Information gain about B along every prefix.

    weights: (batch, next, previous, actions); previous: (n, prefixes, states); level: (n, prefixes * actions,
    states) -> (n, prefixes * actions).
    """
    w = weights if weights.shape[0] == 1 else weights[agents]
    n, prefixes, states = previous.shape
    q = level.view(n, prefixes, -1, states)
    gain = torch.einsum("npus,nsru,npr->npu", q, w.expand(n, -1, -1, -1), previous)
    return gain.reshape(n, -1)


def _join_columns(columns: list[Tensor]) -> Tensor:
    batch = max(c.shape[0] for c in columns)
    return torch.cat([c.expand(batch, *[-1] * (c.dim() - 1)) for c in columns], dim=1)
