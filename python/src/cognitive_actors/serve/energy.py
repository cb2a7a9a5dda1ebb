"""``/energy``: free energy of beliefs term by term, its gradient and its descent, and what policies promise."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from ray import serve
from torch import Tensor

from ..actors.process import prepare_process
from ..core.energy import descend, gradient, variational_terms
from ..core.expected_free_energy import Planner
from ..core.inference import infer_states
from ..core.policies import describe_policy
from ..files.errors import InputError, suggestion
from ..files.jsonl import parse_records
from ..files.models import load_model
from ..pipeline.examples import example_model
from .application import application, deployed, ready, takes
from .energy_bodies import Beliefs, Descended, DescendRequest, Policy, Terms, TermsRequest, descend_of, terms_of
from .settings import ServiceSettings

TERMS = (
    *("risk", "ambiguity", "utility"),
    *("state_information_gain", "likelihood_information_gain", "transition_information_gain"),
)


class EnergyArguments(BaseModel):
    """``args`` of the application. model: path of a generative model, the umbrella example without one;
    parameter_information_gain: what the model's counts promise is part of what policies are expected to cost."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    parameter_information_gain: bool = False


class Energy:
    """The service in one process. It keeps nothing."""

    def __init__(self, arguments: EnergyArguments) -> None:
        prepare_process()
        self.settings = ServiceSettings.read()
        # Terms are differences of large numbers.
        self.model = load_model(arguments.model or example_model(), dtype=torch.float64)
        if not self.model.shared:
            raise ValueError(f"model {self.model.name!r} has arrays of their own for several agents; write one for all")
        self.planner = Planner(self.model, parameter_information_gain=arguments.parameter_information_gain)

    def __serve_build_asgi_app__(self) -> FastAPI:
        app = application("energy", "Free energy of beliefs and policies, term by term.", self.settings)

        @app.get("/ready", tags=["health"])
        async def is_ready() -> JSONResponse:
            """Always, once it is there: it needs nobody else."""
            return ready([])

        @app.get("/status", tags=["health"])
        async def status() -> dict[str, Any]:
            """The model, and the limits in force."""
            return self._status()

        # No coroutines: they compute, and others are not to wait.
        @app.post("/terms", response_model=Terms)
        @takes(request=terms_of(self.model))
        def terms(request: TermsRequest) -> Terms:
            """What beliefs cost and why, where they would go, and what the best policies promise. Nothing changes."""
            return self._terms(request)

        @app.post("/descend", response_model=Descended)
        @takes(request=descend_of(self.model))
        def descend(request: DescendRequest) -> Descended:
            """Beliefs of less free energy, by steps along its gradient. Nothing changes."""
            return self._descend(request)

        return app

    def _terms(self, request: TermsRequest) -> Terms:
        model = self.model
        observations, prior = self._observations(request.observation), self._read("prior", request.prior)
        beliefs = self._read("beliefs", request.beliefs)
        if inferred := beliefs is None:
            beliefs = infer_states(model, observations, prior).beliefs
        found = variational_terms(model, observations, beliefs, prior)
        slope = gradient(model, observations, beliefs, prior)
        modalities = [modality.name for modality in model.modalities]
        return Terms(
            beliefs=self._by_factor(beliefs),
            inferred=inferred,
            complexity=dict(zip(self._factors, found.complexity[0].tolist(), strict=True)),
            accuracy=dict(zip(modalities, found.accuracy[0].tolist(), strict=True)),
            free_energy=float(found.free_energy),
            gradient=self._by_factor(slope),
            policies=self._best(beliefs, request.policies),
            policies_total=model.num_policies,
        )

    def _best(self, beliefs: tuple[Tensor, ...], most: int) -> list[Policy]:
        if not most:
            return []
        expected = self.planner.decompose(beliefs)
        total = expected.total[0]
        sums = {name: getattr(expected, name)[0].sum(dim=-1) for name in TERMS}
        # Equal ones in their order.
        return [
            Policy(
                policy=describe_policy(self.model, number),
                number=number,
                total=float(total[number]),
                **{name: float(x[number]) for name, x in sums.items()},
            )
            for number in torch.sort(total, stable=True).indices[:most].tolist()
        ]

    def _descend(self, request: DescendRequest) -> Descended:
        model = self.model
        observations, prior = self._observations(request.observation), self._read("prior", request.prior)
        beliefs = self._read("beliefs", request.beliefs)
        assert beliefs is not None
        before = after = float(variational_terms(model, observations, beliefs, prior).free_energy)
        rates: list[float] = []
        for _ in range(request.steps):
            step = descend(model, observations, beliefs, prior, rate=request.rate)
            if not float(step.rate):
                break
            beliefs, after = step.beliefs, float(step.free_energy)
            rates.append(float(step.rate))
        return Descended(beliefs=self._by_factor(beliefs), before=before, after=after, rates=rates)

    def _observations(self, observation: Mapping[str, str | int | None]) -> tuple[Tensor, ...]:
        """As a stimulus' observation is read. Raises InputError."""
        numbers = parse_records([{"observation": dict(observation)}], self.model).observations[0].tolist()
        return tuple(torch.tensor([number]) for number in numbers)

    def _read(self, field: str, given: Beliefs | None) -> tuple[Tensor, ...] | None:
        """Distributions over the states of each factor. Raises InputError where they do not fit the model."""
        if given is None:
            return None
        for name in given:
            if name not in self._factors:
                raise InputError(f"{field}: unknown factor {name!r}; {suggestion(name, self._factors)}")
        read = []
        for factor in self.model.factors:
            weights, states = given.get(factor.name), len(factor.states)
            if weights is None or len(weights) != states or not any(weights):
                raise InputError(
                    f"{field}: write {states} weights for factor {factor.name!r}, one for each of"
                    f" {', '.join(factor.states)}, and not all of them zero"
                )
            x = torch.tensor([weights], dtype=torch.float64)
            # The largest first: a sum of the smallest numbers there are would round.
            x = x / x.max()
            read.append(x / x.sum())
        return tuple(read)

    @property
    def _factors(self) -> list[str]:
        return [factor.name for factor in self.model.factors]

    def _by_factor(self, values: Sequence[Tensor]) -> dict[str, list[float]]:
        return {name: x[0].tolist() for name, x in zip(self._factors, values, strict=True)}

    def _status(self) -> dict[str, Any]:
        model = self.model
        return {
            "service": "energy",
            "model": model.name,
            "modalities": {m.name: list(m.outcomes) for m in model.modalities},
            "factors": {f.name: list(f.states) for f in model.factors},
            "policies": model.num_policies,
            "timeout": self.settings.timeout,
            "in_flight": self.settings.in_flight,
            "authenticated": self.settings.token is not None,
        }


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application, as a Serve configuration names it: ``cognitive_actors.serve.energy:build``.

    arguments: as :class:`EnergyArguments` has them. Raises ValueError for others.
    """
    return deployed(Energy, EnergyArguments.model_validate(arguments))
