"""Agents that act in an environment, in one process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import ray
import torch

from ..core.cycle import CycleSettings
from ..core.trial import Simulation
from .process import prepare_process


@ray.remote(num_cpus=1, max_restarts=0)
class SimulationActor:
    """A shell around :class:`cognitive_actors.core.trial.Simulation`."""

    def __init__(self, name: str, options: Mapping[str, Any], agents: np.ndarray, settings: CycleSettings) -> None:
        prepare_process()
        self.simulation = Simulation(name, options, torch.tensor(agents), settings)

    def trial(self) -> dict[str, np.ndarray]:
        """One trial of all agents; see :meth:`Simulation.trial`."""
        return self.simulation.trial()

    def ready(self) -> dict[str, Any]:
        """Answers once the actor can work."""
        return {"agents": len(self.simulation.clock), "pid": os.getpid()}
