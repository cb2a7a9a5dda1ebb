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

import functools
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .fused_tree import FusedTree, joint_belief, worth_fusing
from .model import GenerativeModel
from .novelty import novelty_weights
from .numerics import WIDE, negative_entropy, x_log_x
from .prefix_tree import PrefixTree, Readout

#: Temporaries of one chunk of agents: small enough to stay in a core's share of the caches.
CHUNK_BYTES = 1 << 21


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
        """The switches leave terms out of G, for ablations: utility, or state information gain (its ambiguity and the
        entropy of its outcomes). ``parameter_information_gain`` adds what the counts pA and pB promise and raises
        ValueError for a model that has neither.
        """
        if parameter_information_gain and model.pA is None and model.pB is None:
            raise ValueError(
                "parameter_information_gain needs Dirichlet counts: give the model pA or pB, or leave it out"
            )
        self.model = model
        self.agents = model.agents
        self.entropy = state_information_gain
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
        self.fused = None
        if worth_fusing(model) and not counts:
            linear = [self.linear[min(t, steps - 1)] for t in range(model.horizon)]
            self.fused = FusedTree(model, linear, entropy=self.entropy)
        self.chunk = self._chunk()

    @cached_property
    def tree(self) -> PrefixTree:
        return PrefixTree(self.model)

    @cached_property
    def groups(self) -> list[_Group]:
        """Modalities that depend on the same factors are read out together."""
        return [_Group(self, factors, members) for factors, members in self._members().items()]

    def _members(self) -> dict[tuple[int, ...], list[int]]:
        members: dict[tuple[int, ...], list[int]] = {}
        for m, modality in enumerate(self.model.modalities):
            members.setdefault(tuple(sorted(modality.factors)), []).append(m)
        return members

    def _chunk(self) -> int:
        """How many agents' largest temporary fits into CHUNK_BYTES."""
        model = self.model
        largest = self.fused.largest if self.fused is not None else 0
        for factors, members in () if largest else self._members().items():
            prefixes = math.prod(model.num_actions[f] ** model.horizon for f in factors)
            largest = max(largest, prefixes * (sum(model.num_outcomes[m] for m in members) + len(self.linear)))
        return int(max(1, CHUNK_BYTES // (largest * model.A[0].element_size())))

    @torch.inference_mode()
    def expected_free_energy(self, beliefs: tuple[Tensor, ...], step_weights: Tensor | None = None) -> Tensor:
        """G of every policy.

        beliefs[f]: (agents, states_f), about the present; step_weights: (agents or 1, horizon), how much each future
        step counts (1 by default) -> (agents, policies) in nats, policies in the order of ``policy_actions``.
        Raises ValueError for a number of agents or steps that does not fit the model.
        """
        n = self._checked(beliefs)
        if n == 0:
            return beliefs[0].new_empty(0, self.model.num_policies)
        if step_weights is not None:
            if step_weights.shape not in ((1, self.model.horizon), (n, self.model.horizon)):
                expected = (n, self.model.horizon)
                raise ValueError(f"step_weights has shape {tuple(step_weights.shape)}; write {expected}, or one row")
            step_weights = step_weights.to(self.model.dtype)
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
        """Every term of every policy at every step, whatever the switches leave out of G.

        beliefs and errors as in :meth:`expected_free_energy`. Larger and slower: nothing is cut into chunks.
        """
        self._checked(beliefs)
        return _TermSums(self, beliefs).terms()

    def _checked(self, beliefs: tuple[Tensor, ...]) -> int:
        n = beliefs[0].shape[0]
        if self.agents not in (1, n):
            raise ValueError(f"beliefs are of {n} agents; write those of the {self.agents} that the model is for")
        return n

    def _evaluate(self, beliefs: tuple[Tensor, ...], weights: Tensor | None, agents: slice) -> Tensor:
        if self.fused is not None:
            return self.fused(joint_belief(beliefs), weights)
        sums: dict[tuple[int, ...], Tensor] = {}
        previous = tuple(q[:, None, :] for q in beliefs)
        for t, level in enumerate(self.tree.levels(beliefs, agents)):
            for factors, g in self._level(t, previous, level, agents):
                g = g if weights is None else g * weights[:, t].view(-1, *[1] * (g.dim() - 1))
                sums[factors] = self.tree.extend(sums[factors], g, factors, t + 1) if t else g
            previous = level
        total: Tensor | None = None
        for factors, values in sums.items():
            part = self.tree.to_policies(values, self._controls(factors))
            total = part if total is None else total + part
        assert total is not None
        full = total.expand(total.shape[0], *self._policy_shape())
        return full.reshape(full.shape[0], -1) + self._offset(weights, agents)

    def _level(
        self, t: int, previous: tuple[Tensor, ...], level: tuple[Tensor, ...], agents: slice
    ) -> list[tuple[tuple[int, ...], Tensor]]:
        """g of one step, (n, prefixes of each factor ...), one entry per set of factors."""
        found = [(group.factors, group.g(t, level, agents)) for group in self.groups]
        for f, w in enumerate(self.transition_novelty or ()):
            gain = -_transition_gain(w, previous[f], level[f], agents)
            same = [i for i, (factors, _) in enumerate(found) if factors == (f,)]
            if same:
                found[same[0]] = ((f,), found[same[0]][1] + gain)
            else:
                found.append(((f,), gain))
        return found

    def _offset(self, weights: Tensor | None, agents: slice) -> Tensor:
        """What the groups left out of their columns, summed over the steps: (n or 1, 1)."""
        offset = self.offset if self.offset.shape[0] == 1 else self.offset[agents]
        # Step by step: the order of a reduction, and with it the last bit, would depend on how many rows there are.
        steps = (offset if weights is None else offset * weights).split_with_sizes([1] * self.model.horizon, dim=1)
        return functools.reduce(torch.add, steps)

    @cached_property
    def offset(self) -> Tensor:
        """(batch, horizon)."""
        steps = [[g.offsets[min(t, g.steps - 1)] for g in self.groups] for t in range(self.model.horizon)]
        return torch.stack([functools.reduce(torch.add, row) for row in steps], dim=1)

    def _controls(self, factors: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(f for f in factors if self.model.factors[f].controllable)

    def _policy_shape(self) -> list[int]:
        return [n for n in self.model.num_actions if n > 1] * self.model.horizon


class _Group:
    """Modalities over the same factors: all their outcomes and g's linear part in one read-out."""

    def __init__(self, planner: Planner, factors: tuple[int, ...], members: list[int]) -> None:
        model = planner.model
        self.factors, self.entropy = factors, planner.entropy

        def laid(m: int, columns: Tensor) -> Tensor:
            """(batch, columns, states of m's factors ...) with the factors in ascending order."""
            own = model.modalities[m].factors
            return columns.permute(0, 1, *(2 + own.index(f) for f in factors))

        outcomes = [laid(m, model.A[m]) for m in members]
        linear = [functools.reduce(torch.add, [laid(m, row[m]) for m in members]) for row in planner.linear]
        # Beliefs sum to one, so a constant can leave the columns; smaller numbers round less.
        self.offsets = [x.flatten(1).mean(dim=1) for x in linear]
        linear = [x - c.view(-1, *[1] * (x.dim() - 1)) for x, c in zip(linear, self.offsets, strict=True)]
        self.outcomes, self.steps = sum(x.shape[1] for x in outcomes), len(linear)
        self.readout = Readout(model, factors, _join_columns([*outcomes, *linear]))
        self.novelty = None
        if planner.likelihood_novelty is not None:
            weights = [laid(m, planner.likelihood_novelty[m]) for m in members]
            self.novelty = Readout(model, factors, _join_columns(weights))

    def g(self, t: int, level: tuple[Tensor, ...], agents: slice) -> Tensor:
        """(n, prefixes of each factor ... in ascending order of factors)."""
        y = self.readout(level, agents)
        predicted = y[..., : self.outcomes, :]
        g = y[..., self.outcomes + min(t, self.steps - 1), :]
        if self.entropy:
            wide = predicted[0].numel() >= WIDE
            g = x_log_x(predicted, wide=wide).sum(dim=-2).add_(g)
        if self.novelty is not None:
            g = g - (predicted * self.novelty(level, agents)).sum(dim=-2)
        return self.readout.ascending(g)


class _TermSums:
    """Evaluates each term by itself, step by step, over the prefix tree."""

    def __init__(self, planner: Planner, beliefs: tuple[Tensor, ...]) -> None:
        self.planner, self.beliefs = planner, beliefs
        model = planner.model
        self.shape = planner._policy_shape()
        self.agents = slice(0, beliefs[0].shape[0])
        self.readouts = [
            Readout(
                model,
                model.modalities[m].factors,
                _join_columns([A, planner.ambiguity[m], *(row[m] for row in planner.utility)]),
            )
            for m, A in enumerate(model.A)
        ]
        self.novelty = (
            [Readout(model, model.modalities[m].factors, w) for m, w in enumerate(planner.likelihood_novelty)]
            if planner.likelihood_novelty is not None
            else None
        )

    def terms(self) -> Terms:
        planner, model = self.planner, self.planner.model
        n, horizon = self.agents.stop, model.horizon
        names = ("entropy", "ambiguity", "utility", "likelihood", "transition")
        sums = {name: self.beliefs[0].new_zeros(n, *self.shape, horizon) for name in names}
        previous = tuple(q[:, None, :] for q in self.beliefs)
        for t, level in enumerate(planner.tree.levels(self.beliefs, self.agents)):
            for m, readout in enumerate(self.readouts):
                outcomes = model.num_outcomes[m]
                controls = planner._controls(tuple(sorted(model.modalities[m].factors)))
                y = readout(level, self.agents)
                predicted = y[..., :outcomes, :]
                values = {
                    "entropy": -x_log_x(predicted).sum(dim=-2),
                    "ambiguity": y[..., outcomes, :],
                    "utility": y[..., outcomes + 1 + min(t, len(planner.utility) - 1), :],
                }
                if self.novelty is not None:
                    values["likelihood"] = (predicted * self.novelty[m](level, self.agents)).sum(dim=-2)
                for name, g in values.items():
                    sums[name][..., t] += self._spread(readout.ascending(g), controls, t + 1)
            for f, w in enumerate(planner.transition_novelty or ()):
                controls = (f,) if model.factors[f].controllable else ()
                gain = _transition_gain(w, previous[f], level[f], self.agents)
                sums["transition"][..., t] += self._spread(gain, controls, t + 1)
            previous = level
        flat = {name: x.reshape(n, model.num_policies, horizon) for name, x in sums.items()}
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
        g = g.reshape(n, *(p * r for p, r in zip(prefixes, rest, strict=True)))
        return self.planner.tree.to_policies(g, controls)


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
        ascending = [factors.index(f) for f in sorted(factors)]
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
    actions = weights.shape[3]
    q = level.view(n, prefixes, actions, states)
    gain = torch.einsum("npus,nsru,npr->npu", q, w.expand(n, -1, -1, -1), previous)
    return gain.reshape(n, prefixes * actions)


def _join_columns(columns: list[Tensor]) -> Tensor:
    batch = max(c.shape[0] for c in columns)
    return torch.cat([c.expand(batch, *[-1] * (c.dim() - 1)) for c in columns], dim=1)
