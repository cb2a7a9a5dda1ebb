"""Arguments that several services have."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ..core.cycle import CycleSettings
from .population import AGENTS, SharedPopulation, shared_population


class PopulationArguments(BaseModel):
    """Which agents a service is for, the same in all that share them. model: path of a generative model, the umbrella
    example without one; actor: name of the actor that owns the agents; precision: of policies, at baseline."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    actor: str = AGENTS
    precision: float = Field(default=CycleSettings.precision, ge=0.0)

    def shared(self, *, makes: bool = True) -> SharedPopulation:
        """The agents. makes: as there."""
        return shared_population(self.model, self.actor, self.precision, makes=makes)
