"""Routes by surprise: how much effort an observation deserves, without chattering at the limits.

A surprise of S nats becomes a share of full surprise, as in the salience of the workspace::

    b = 1 - exp(-S / kappa)          0 at S = 0, 1 - 1/e at S = kappa, 1 for what was impossible

and the share decides, together with the route the stream has been on::

                 from nowhere    a fast stream    a planned one    an escalated one
    fast         b < .35         b < .38          b < .35          b < .35
    planned      in between      in between       in between       in between
    escalated    b >= .60        b >= .60         b >= .60         b >= .57

So each limit is a Schmitt trigger (Schmitt 1938, J Sci Instrum 15:24) whose band lies on the inner side: a fast stream
is left alone up to .38 and an escalated one is kept down to .57, and a share that moves within [.35, .38) or [.57, .60)
changes no route. The four numbers are those of the service that this one replaces, which calls them tau_fast,
tau_fast_exit, tau_plan and tau_plan_exit; that it reads them so is known from it, that they are good is not: choices.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from . import batched

__all__ = ["ROUTES", "Router", "Routing", "RoutingParameters", "RoutingState"]

#: The routes by number, from the least to the most effort.
ROUTES = ("fast", "planned", "escalated")
#: The route of a stream that has had no observation.
UNROUTED = -1
_FAST, _PLANNED, _ESCALATED = range(len(ROUTES))


@dataclass(frozen=True)
class RoutingParameters:
    """Limits of the routes as shares of full surprise, 0 to 1. All are choices.

    fast_below: a stream gets onto the fast route below it; fast_until: and leaves that once it reaches this.
    escalated_from: a stream is escalated once it reaches it; escalated_until: and stays so until it is below this.
    kappa: nats of surprise that make a share of 1 - 1/e; 1 as in the workspace.
    Raises ValueError unless 0 < fast_below <= fast_until <= escalated_until <= escalated_from < 1 and kappa > 0.
    """

    fast_below: float = 0.35
    fast_until: float = 0.38
    escalated_until: float = 0.57
    escalated_from: float = 0.60
    kappa: float = 1.0

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in _ORDER}
        for name, value in limits.items():
            if not 0 < value < 1:
                raise ValueError(f"routing {name} is {value}; write a share of full surprise between 0 and 1")
        for (low, x), (high, y) in zip(list(limits.items())[:-1], list(limits.items())[1:], strict=True):
            if x > y:
                raise ValueError(f"routing {low} is {x} and {high} is {y}; write {low} no larger than {high}")
        if not 0 < self.kappa < math.inf:
            raise ValueError(f"routing kappa is {self.kappa}; write nats greater than zero")


_ORDER = ("fast_below", "fast_until", "escalated_until", "escalated_from")


@dataclass(frozen=True, eq=False)
class RoutingState:
    """route: int64 (streams,), the position in ROUTES, or UNROUTED."""

    route: Tensor


@dataclass(frozen=True, eq=False)
class Routing:
    """What became of one observation per stream.

    share: (streams,) float64, the share of full surprise, zero for a stream without an observation; changed: (streams,)
    bool, the route is another than before (the first one included).
    """

    state: RoutingState
    share: Tensor
    changed: Tensor

    @property
    def route(self) -> Tensor:
        """int64 (streams,), the position in ROUTES, or UNROUTED."""
        return self.state.route


class Router:
    """Routing under one set of limits. Every method is pure and deterministic: state in, new state out."""

    def __init__(self, parameters: RoutingParameters | None = None) -> None:
        self.parameters = RoutingParameters() if parameters is None else parameters

    def initial(self, n: int, device: torch.device | str | None = None) -> RoutingState:
        """``n`` streams that have had no observation."""
        return RoutingState(torch.full((n,), UNROUTED, dtype=torch.int64, device=device))

    def share(self, surprise: Tensor) -> Tensor:
        """Surprise in nats, any shape, as a share of full surprise in [0, 1], float64.

        Negative surprise, as rounding makes it, counts as none; inf is a share of one, as is, in float64, all from
        some 37 kappa up. Raises ValueError for NaN, with its place.
        """
        nats = surprise.to(torch.float64)
        for place in torch.nonzero(nats.isnan()).tolist():
            raise ValueError(f"surprise{place} is NaN; write nats of 0 or more, or inf for what was impossible")
        return -torch.expm1(nats.clamp_min(0) * (-1 / self.parameters.kappa))

    def route(self, state: RoutingState, surprise: Tensor, present: Tensor | None = None) -> Routing:
        """Route every stream by its newest surprise.

        surprise: (streams,) nats; present: (streams,) bool, by default all: a stream without an observation keeps its
        route, and what ``surprise`` holds for it is not looked at. Raises ValueError for another shape and for NaN.
        """
        for name, x in (("surprise", surprise), ("present", present)):
            if x is not None and x.shape != state.route.shape:
                raise ValueError(f"{name} has shape {tuple(x.shape)}; write {tuple(state.route.shape)}, one per stream")
        if present is None:
            present = torch.ones_like(state.route, dtype=torch.bool)
        share = self.share(torch.where(present, surprise, 0.0))
        p, before = self.parameters, state.route
        # Of tensors: a choice between two Python numbers would be one of float32.
        fast_below, fast_until, escalated_until, escalated_from = (share.new_tensor(getattr(p, x)) for x in _ORDER)
        fast = share < torch.where(before == _FAST, fast_until, fast_below)
        escalated = share >= torch.where(before == _ESCALATED, escalated_until, escalated_from)
        route = torch.where(fast, _FAST, torch.where(escalated, _ESCALATED, _PLANNED))
        route = torch.where(present, route, before)
        return Routing(RoutingState(route), share, route != before)

    def to_arrays(self, state: RoutingState) -> dict[str, np.ndarray]:
        """The state as numpy arrays by name, equal to the bit."""
        return batched.to_arrays(state)

    def from_arrays(self, arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> RoutingState:
        """The state that :meth:`to_arrays` wrote. Raises ValueError, naming the array, for any that does not fit."""
        state = batched.from_arrays(self.initial(0, device), arrays)
        for place in torch.nonzero((state.route < UNROUTED) | (state.route >= len(ROUTES))).tolist():
            raise ValueError(
                f"array 'route'{place} is {int(state.route[place[0]])}; write {UNROUTED} to {len(ROUTES) - 1}"
            )
        return state
