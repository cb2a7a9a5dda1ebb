"""Planning with pymdp, called the way it is fastest. Imports JAX, so it is imported only where pymdp is installed.

``Agent``        ``jax.jit`` of ``agent.infer_policies`` with the agent as an argument: one model per agent, always
``closure``      the same with the agent as a constant of the compiled program
``shared``       pymdp's ``update_posterior_policies`` mapped by hand over the beliefs alone, one model for all
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pymdp import control
from pymdp.agent import Agent

from .models import GAMMA, PlanningModel

Result = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Compiled:
    """One way of calling pymdp: ``call`` waits for the result; ``temporaries`` in bytes as XLA plans them."""

    function: Any
    arguments: tuple[Any, ...]

    def call(self) -> None:
        jax.block_until_ready(self.function(*self.arguments))

    def result(self) -> Result:
        """-neg_efe, which is G, and the policy posterior."""
        posterior, negative_efe = self.function(*self.arguments)
        return -np.asarray(negative_efe), np.asarray(posterior)

    def temporaries(self) -> int:
        analysis = self.function.lower(*self.arguments).compile().memory_analysis()
        return int(analysis.temp_size_in_bytes)


def agent_argument(model: PlanningModel, beliefs: tuple[np.ndarray, ...]) -> Compiled:
    """The agent as an argument of the compiled function."""
    agent = _agent(model, len(beliefs[0]))
    return Compiled(jax.jit(lambda a, q: a.infer_policies(q)), (agent, _histories(beliefs)))


def agent_closure(model: PlanningModel, beliefs: tuple[np.ndarray, ...]) -> Compiled:
    """The agent as a constant of the compiled function."""
    agent = _agent(model, len(beliefs[0]))
    return Compiled(jax.jit(lambda q: agent.infer_policies(q)), (_histories(beliefs),))


def shared_model(model: PlanningModel, beliefs: tuple[np.ndarray, ...]) -> Compiled:
    """One model for all agents, beliefs mapped by hand."""
    policies = _agent(model, 1).policies.policy_arr
    one = partial(
        control.update_posterior_policies,
        pA=None,
        pB=None,
        A_dependencies=_lists(model.dependencies),
        B_dependencies=[[f] for f in range(len(model.B))],
        gamma=GAMMA,
    )

    def plan(q: Any, A: Any, B: Any, C: Any, E: Any) -> Any:
        return jax.vmap(lambda x: one(policies, x, A, B, C, E))(q)

    arguments = (_arrays(beliefs), _arrays(model.A), _arrays(model.B), _arrays(model.C), jnp.asarray(model.habits))
    return Compiled(jax.jit(plan), arguments)


@contextmanager
def double_precision() -> Iterator[None]:
    """Arrays made and programs compiled inside are float64."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def _agent(model: PlanningModel, agents: int) -> Agent:
    return Agent(
        A=_arrays(model.A),
        B=_arrays(model.B),
        C=_arrays(model.C),
        E=jnp.asarray(model.habits),
        A_dependencies=_lists(model.dependencies),
        policy_len=model.horizon,
        batch_size=agents,
        gamma=GAMMA,
    )


def _arrays(xs: tuple[np.ndarray, ...]) -> list[Any]:
    return [jnp.asarray(x) for x in xs]


def _histories(beliefs: tuple[np.ndarray, ...]) -> list[Any]:
    """pymdp's beliefs carry an axis of time behind that of agents."""
    return [jnp.asarray(q)[:, None] for q in beliefs]


def _lists(dependencies: tuple[tuple[int, ...], ...]) -> list[list[int]]:
    return [list(d) for d in dependencies]
