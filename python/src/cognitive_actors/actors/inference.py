"""Active inference for many agents in one process: beliefs, free energy and policies of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from ..core import batched
from ..core.couplings import modulated_model, modulation, step_weights
from ..core.cycle import CycleSettings
from ..core.expected_free_energy import Planner
from ..core.inference import infer_states, predict_states
from ..core.model import GenerativeModel
from ..core.policies import describe_policy, policy_actions
from ..core.selection import policy_posterior
from ..files.jsonl import parse_records
from ..files.models import load_model
from .durability import Continuity, Durability, acknowledged
from .levels import read_levels
from .process import prepare_process


@ray.remote(num_cpus=0, max_restarts=0)
class InferenceEngineActor:
    """Beliefs of ``agents`` agents under one model, and the free energy of what they might do.

    model_path: a YAML or NPZ model; settings: precision, couplings and so on; neurotransmitters: a
    NeurotransmitterActor asked for the levels wherever no ``state`` is given (baseline without one). durability: where
    beliefs and priors are saved before it answers, so that one that is started again continues from there; request: as
    in NeurotransmitterActor. The model does not change here, and a checkpoint of another model is refused.
    """

    def __init__(
        self,
        model_path: str | Path,
        agents: int = 1,
        settings: CycleSettings | None = None,
        neurotransmitters: Any = None,
        device: str = "cpu",
        durability: Durability | str | None = None,
    ) -> None:
        prepare_process()
        if agents < 1:
            raise ValueError(f"agents is {agents}; write 1 or more")
        self.model: GenerativeModel = load_model(model_path).to(device=device)
        self.settings = CycleSettings() if settings is None else settings
        self.baseline = torch.tensor(self.settings.modulators.baseline, dtype=torch.float64, device=device)
        self.neurotransmitters = neurotransmitters
        self.planner = Planner(self.model)
        self.prior = tuple(D.expand(agents, -1).clone() for D in self.model.D)
        self.beliefs = self.prior
        self.agents = agents
        if not self.model.shared:
            raise ValueError(f"{model_path}: has arrays of their own for several agents; write one model for all")
        self._continuity = Continuity(
            durability, actor="inference engine", agents=agents, model=self.model, settings=self.settings
        )
        self._continuity.begin(self)

    def policies(self) -> list[str]:
        """Every policy in words, in order: "policy_0" is the first."""
        return [describe_policy(self.model, i) for i in range(self.model.num_policies)]

    @acknowledged
    def observe(self, observation: Mapping[str, Any], agent: int = 0, *, request: str | None = None) -> dict[str, Any]:
        """Update one agent's beliefs. Returns its beliefs by factor and state, and the variational free energy.

        observation: modality -> outcome name or number, or None. Raises InputError for one the model does not have.
        """
        record = parse_records([{"observation": dict(observation)}], self.model)
        outcomes = tuple(torch.from_numpy(record.observations[:, m]) for m in range(len(self.model.modalities)))
        row = slice(self._checked(agent), agent + 1)
        inferred = infer_states(
            self.model,
            [o.to(self.model.device) for o in outcomes],
            [p[row] for p in self.prior],
            method=self.settings.method,
        )
        self.beliefs = tuple(
            torch.cat([old[:agent], new, old[agent + 1 :]])
            for old, new in zip(self.beliefs, inferred.beliefs, strict=True)
        )
        return {"beliefs": self.get_beliefs(agent), "free_energy": float(inferred.free_energy)}

    @acknowledged
    def act(self, policy: int | str, agent: int = 0, *, request: str | None = None) -> dict[str, str]:
        """Take the first step of a policy: the prior of the next observation is what it leads to.

        Returns the action of each control factor by name.
        """
        row = slice(self._checked(agent), agent + 1)
        action = policy_actions(self.model)[self._policy(policy), 0]
        moved = predict_states(self.model, [q[row] for q in self.beliefs], action[None])
        self.prior = tuple(
            torch.cat([old[:agent], new, old[agent + 1 :]]) for old, new in zip(self.prior, moved, strict=True)
        )
        chosen = zip(self.model.factors, action.tolist(), strict=True)
        return {f.name: f.actions[u] for f, u in chosen if f.controllable}

    def get_beliefs(self, agent: int = 0) -> dict[str, dict[str, float]]:
        """Factor -> state -> probability."""
        row = self._checked(agent)
        return {
            f.name: dict(zip(f.states, q[row].tolist(), strict=True))
            for f, q in zip(self.model.factors, self.beliefs, strict=True)
        }

    def compute_free_energy(self, state: Mapping[str, float] | None, policy: int | str, agent: int = 0) -> float:
        """Expected free energy of one policy, in nats: lower is better.

        state: modulator levels, as a NeurotransmitterActor returns them (missing ones at baseline; None asks the
        actor this one was given); policy: its number, "policy_3", or its words as in ``policies``.
        """
        number = self._policy(policy)
        return float(self._evaluate(state, agent)[0][0, number])

    def evaluate(self, state: Mapping[str, float] | None = None, agent: int = 0) -> dict[str, list[float]]:
        """Expected free energy and posterior probability of every policy, in the order of ``policies``."""
        G, posterior = self._evaluate(state, agent)
        return {"free_energy": G[0].tolist(), "posterior": posterior[0].tolist()}

    def compute_free_energies(self, levels: np.ndarray | None = None) -> np.ndarray:
        """Expected free energy of every policy for all agents: levels (agents, 5) -> (agents, policies)."""
        every = self.baseline.expand(self.agents, -1)
        given = every if levels is None else torch.tensor(levels, dtype=torch.float64)
        if given.shape != every.shape or not ((given >= 0) & (given <= 1)).all():
            raise ValueError(f"levels has shape {tuple(given.shape)}; write {tuple(every.shape)}, all between 0 and 1")
        return self._free_energies(given, self.beliefs)[0].numpy(force=True)

    def save(self) -> int | None:
        """Save the state now. Returns its generation in the store, None without durability."""
        return self._continuity.save(self)

    def _snapshot(self) -> dict[str, np.ndarray]:
        return batched.to_arrays((self.prior, self.beliefs))

    def _restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.prior, self.beliefs = batched.from_arrays((self.prior, self.beliefs), arrays)

    def _memory(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return self.prior, self.beliefs

    def _recall(self, memory: Any) -> None:
        self.prior, self.beliefs = memory

    def _evaluate(self, state: Mapping[str, float] | None, agent: int) -> tuple[Tensor, Tensor]:
        row = slice(self._checked(agent), agent + 1)
        return self._free_energies(self._levels(state, agent)[None], tuple(q[row] for q in self.beliefs))

    def _free_energies(self, levels: Tensor, beliefs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        factors = modulation(self.settings.couplings, levels.to(self.model.device), self.baseline)
        model = modulated_model(self.model, factors)
        weights = step_weights(self.settings.discount_half_life, model.horizon, factors)
        # Made once for the model as it is; only what the modulators changed is made anew.
        planner = self.planner if model is self.model else Planner(model)
        G = planner.expected_free_energy(beliefs, None if weights is None else weights.to(model.dtype))
        precision = (self.settings.precision * factors.policy_precision).to(model.dtype)
        return G, policy_posterior(G, precision, model.E, factors.habit_weight.to(model.dtype))

    def _levels(self, state: Mapping[str, float] | None, agent: int) -> Tensor:
        if state is None and self.neurotransmitters is not None:
            state = ray.get(self.neurotransmitters.get_state.remote(agent))
        return read_levels(state, self.baseline)

    def _policy(self, policy: int | str) -> int:
        count = self.model.num_policies
        if isinstance(policy, str):
            words: Sequence[str] = self.policies()
            if policy in words:
                return words.index(policy)
            number = policy.removeprefix("policy_")
            policy = int(number) if number.isdecimal() else -1
        if not isinstance(policy, int) or not 0 <= policy < count:
            raise ValueError(f"there is no such policy; write a number from 0 to {count - 1}, or one of policies()")
        return policy

    def _checked(self, agent: int) -> int:
        if not 0 <= agent < self.agents:
            raise ValueError(f"there is no agent {agent}; write a number between 0 and {self.agents - 1}")
        return agent
