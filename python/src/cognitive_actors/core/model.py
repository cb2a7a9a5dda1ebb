"""The generative model of an active-inference agent: a discrete POMDP with factorised hidden states.

Conventions (those of SPM and pymdp, plus one leading batch axis)
------------------------------------------------------------------
``A[m]``  P(o_m | s)         (batch, outcomes_m, states of the factors that modality m depends on ...)
``B[f]``  P(s'_f | s_f, u_f) (batch, states_f next, states_f previous, actions_f)
``C[m]``  ln P(o_m)          (batch, steps, outcomes_m), normalised log-preferences in nats
``D[f]``  P(s_f at t = 0)    (batch, states_f)
``E``     P(policy)          (batch, policies), habits
``pA, pB, pD``               Dirichlet counts, shaped as A, B, D; None where nothing is learned

A model keeps A beside pA (B beside pB, D beside pD) and they may differ; an agent that learns A goes by the mean of
pA from the start, see ``learning.with_counts``.

``batch`` is 1 where every agent shares the array and N where each agent has its own, independently per array.
``steps`` is 1 for preferences that hold at every future step, or the horizon.

Source of the formulation: Da Costa et al. 2020, Active inference on discrete state-spaces: a synthesis,
J Math Psychol 99:102447.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .validation import ModelError, check_batch, check_counts, check_distribution, check_finite, check_shape

__all__ = ["Factor", "GenerativeModel", "Modality", "ModelError"]


@dataclass(frozen=True)
class Factor:
    """One hidden state factor: its states and, where it can be controlled, its actions."""

    name: str
    states: tuple[str, ...]
    actions: tuple[str, ...] = ("none",)

    @property
    def controllable(self) -> bool:
        return len(self.actions) > 1


@dataclass(frozen=True)
class Modality:
    """One observation modality: its outcomes and the (positions of the) factors that cause them."""

    name: str
    outcomes: tuple[str, ...]
    factors: tuple[int, ...]
    social: bool = False


@dataclass(frozen=True)
class GenerativeModel:
    """A validated generative model. Build it with :meth:`from_arrays`, which checks every array."""

    factors: tuple[Factor, ...]
    modalities: tuple[Modality, ...]
    A: tuple[Tensor, ...]
    B: tuple[Tensor, ...]
    C: tuple[Tensor, ...]
    D: tuple[Tensor, ...]
    E: Tensor
    horizon: int = 1
    pA: tuple[Tensor, ...] | None = None
    pB: tuple[Tensor, ...] | None = None
    pD: tuple[Tensor, ...] | None = None
    name: str = "model"

    @classmethod
    def from_arrays(
        cls,
        A: Sequence[Any],
        B: Sequence[Any],
        C: Sequence[Any] | None = None,
        D: Sequence[Any] | None = None,
        E: Any = None,
        *,
        dependencies: Sequence[Sequence[int]] | None = None,
        factors: Sequence[Factor] | None = None,
        modalities: Sequence[Modality] | None = None,
        horizon: int = 1,
        pA: Sequence[Any] | None = None,
        pB: Sequence[Any] | None = None,
        pD: Sequence[Any] | None = None,
        batched: bool = False,
        name: str = "model",
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> GenerativeModel:
        """Check arrays (lists, numpy or torch) and make a model of them.

        ``batched`` says that every array already carries the leading batch axis; otherwise all are shared.
        ``C`` is given as relative log-preferences (nats) and normalised here, so that C[m] = ln softmax(C[m]);
        missing C, D and E are uniform. ``dependencies[m]`` lists the factors of modality m; by default every
        modality depends on every factor. ``modalities`` carry their own dependencies. Missing names are numbers.

        Raises ModelError, naming the array, the index and what to write, for a wrong number of arrays, a wrong
        shape, a value that is not finite or negative, or a column that does not sum to one.
        """
        if len(A) == 0 or len(B) == 0:
            raise ModelError("A and B must each hold at least one array: write one A per modality, one B per factor")
        if not isinstance(horizon, int | np.integer) or horizon < 1:
            raise ModelError(f"horizon is {horizon}; write a whole number of steps, 1 or more")
        if dtype not in (torch.float32, torch.float64):
            raise ModelError(f"dtype is {dtype}; write torch.float32 or torch.float64")
        given = {
            label: [_array(f"{label}[{i}]", x, batched) for i, x in enumerate(xs)]
            for label, xs in {"A": A, "B": B, "C": C, "D": D, "pA": pA, "pB": pB, "pD": pD}.items()
            if xs is not None
        }
        factors = _default_factors(given["B"]) if factors is None else tuple(factors)
        if modalities is None:
            modalities = _default_modalities(given["A"], dependencies, len(factors))
        elif dependencies is not None:
            raise ModelError("dependencies are given twice; leave them out, the modalities name their factors")
        modalities = tuple(modalities)
        _check_numbers(given, factors, modalities)
        _check_structure(factors, modalities, given["A"], given["B"])
        given["C"] = _preferences(given.get("C"), modalities, horizon)
        given["D"] = _initial(given.get("D"), factors)
        _check_counts(given)
        policies = math.prod(len(f.actions) for f in factors) ** horizon
        habits = np.full((1, policies), 1 / policies) if E is None else _array("E", E, batched)
        check_shape("E", habits, (policies,), "one probability per policy")
        check_distribution("E", habits)
        sizes = {f"{label}[{i}]": len(x) for label, xs in given.items() for i, x in enumerate(xs)}
        check_batch(sizes | {"E": len(habits)})

        def tensor(x: np.ndarray) -> Tensor:
            return torch.as_tensor(x, dtype=dtype, device=device).contiguous()

        arrays = {label: tuple(tensor(x) for x in xs) for label, xs in given.items()}
        return cls(
            factors=factors,
            modalities=modalities,
            A=arrays["A"],
            B=arrays["B"],
            C=arrays["C"],
            D=arrays["D"],
            E=tensor(habits),
            horizon=int(horizon),
            pA=arrays.get("pA"),
            pB=arrays.get("pB"),
            pD=arrays.get("pD"),
            name=name,
        )

    @property
    def num_states(self) -> tuple[int, ...]:
        return tuple(len(f.states) for f in self.factors)

    @property
    def num_actions(self) -> tuple[int, ...]:
        return tuple(len(f.actions) for f in self.factors)

    @property
    def num_outcomes(self) -> tuple[int, ...]:
        return tuple(len(m.outcomes) for m in self.modalities)

    @property
    def num_policies(self) -> int:
        policies: int = math.prod(self.num_actions) ** self.horizon
        return policies

    @property
    def dependencies(self) -> tuple[tuple[int, ...], ...]:
        return tuple(m.factors for m in self.modalities)

    @property
    def dtype(self) -> torch.dtype:
        return self.A[0].dtype

    @property
    def device(self) -> torch.device:
        return self.A[0].device

    @property
    def agents(self) -> int:
        """How many agents the model has arrays for; 1 where all share them."""
        return next((len(x) for x in self.tensors().values() if len(x) != 1), 1)

    @property
    def shared(self) -> bool:
        """True where no array has a batch axis longer than one."""
        return self.agents == 1

    def tensors(self) -> dict[str, Tensor]:
        """Every array under a flat name: ``A_0``, ``B_1``, ..., ``E``, ``pA_0``."""
        named: dict[str, Tensor] = {"E": self.E}
        for label in _LABELS:
            for i, x in enumerate(getattr(self, label) or ()):
                named[f"{label}_{i}"] = x
        return named

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> GenerativeModel:
        """The same model in another precision or on another device."""

        def move(xs: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
            return None if xs is None else tuple(x.to(dtype=dtype, device=device) for x in xs)

        changes: dict[str, Any] = {label: move(getattr(self, label)) for label in _LABELS}
        return replace(self, E=self.E.to(dtype=dtype, device=device), **changes)


_LABELS = ("A", "B", "C", "D", "pA", "pB", "pD")


def _array(label: str, value: Any, batched: bool) -> np.ndarray:
    """A float64 array with a leading batch axis."""
    if isinstance(value, Tensor):
        value = value.detach().to("cpu", torch.float64).numpy()
    try:
        x = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{label} is not a rectangular array of numbers ({error}); write one") from None
    x = x if batched else x[None]
    check_finite(label, x)
    return x


def _default_factors(B: Sequence[np.ndarray]) -> tuple[Factor, ...]:
    for i, b in enumerate(B):
        if b.ndim != 4:
            raise ModelError(
                f"B[{i}] has {b.ndim - 1} axes; write 3 (next state, previous state, action)"
                " and one action for a factor that cannot be controlled"
            )
    return tuple(
        Factor(
            f"factor_{i}",
            tuple(f"state_{s}" for s in range(b.shape[1])),
            tuple(f"action_{u}" for u in range(b.shape[3])),
        )
        for i, b in enumerate(B)
    )


def _default_modalities(
    A: Sequence[np.ndarray], dependencies: Sequence[Sequence[int]] | None, num_factors: int
) -> tuple[Modality, ...]:
    if dependencies is None:
        dependencies = [range(num_factors)] * len(A)
    if len(dependencies) != len(A):
        raise ModelError(f"dependencies has length {len(dependencies)}; write {len(A)}, one list for each modality")
    for i, a in enumerate(A):
        if a.ndim < 2:
            raise ModelError(f"A[{i}] is a single number; write outcomes, then the states of the factors it depends on")
    return tuple(
        Modality(f"modality_{i}", tuple(f"outcome_{o}" for o in range(a.shape[1])), tuple(dependencies[i]))
        for i, a in enumerate(A)
    )


def _check_numbers(
    given: dict[str, list[np.ndarray]], factors: tuple[Factor, ...], modalities: tuple[Modality, ...]
) -> None:
    """One array for each modality or factor, and names of their own for all of those."""
    for label, arrays in given.items():
        kind, named = ("modality", modalities) if label[-1] in "AC" else ("factor", factors)
        if len(arrays) != len(named):
            raise ModelError(f"{label} has length {len(arrays)}; write {len(named)}, one array for each {kind}")
    for kind, names in (("factor", [f.name for f in factors]), ("modality", [m.name for m in modalities])):
        for name in names:
            if names.count(name) > 1:
                raise ModelError(f"two of the {kind} names are {name!r}; give each {kind} a name of its own")


def _check_structure(
    factors: tuple[Factor, ...], modalities: tuple[Modality, ...], A: list[np.ndarray], B: list[np.ndarray]
) -> None:
    for i, (f, b) in enumerate(zip(factors, B, strict=True)):
        if not f.states or not f.actions:
            raise ModelError(f"factor {i} ({f.name!r}) has no states or no actions; write at least one of each")
        n = len(f.states)
        check_shape(f"B[{i}] ({f.name!r})", b, (n, n, len(f.actions)), "next state, previous state, action")
        check_distribution(f"B[{i}] ({f.name!r})", b)
    for i, (m, a) in enumerate(zip(modalities, A, strict=True)):
        if not m.factors or len(set(m.factors)) < len(m.factors) or not set(m.factors) <= set(range(len(factors))):
            raise ModelError(
                f"modality {i} ({m.name!r}) depends on factors {list(m.factors)};"
                f" write a list of distinct numbers between 0 and {len(factors) - 1}"
            )
        if not m.outcomes:
            raise ModelError(f"modality {i} ({m.name!r}) has no outcomes; write at least one")
        states = tuple(len(factors[f].states) for f in m.factors)
        meaning = "outcomes, then " + ", ".join(f"states of {factors[f].name!r}" for f in m.factors)
        check_shape(f"A[{i}] ({m.name!r})", a, (len(m.outcomes), *states), meaning)
        check_distribution(f"A[{i}] ({m.name!r})", a)


def _preferences(C: list[np.ndarray] | None, modalities: tuple[Modality, ...], horizon: int) -> list[np.ndarray]:
    """Relative log-preferences as ln softmax, each (batch, steps, outcomes)."""
    if C is None:
        return [np.full((1, 1, len(m.outcomes)), -math.log(len(m.outcomes))) for m in modalities]
    normalised = []
    for i, (m, x) in enumerate(zip(modalities, C, strict=True)):
        outcomes = len(m.outcomes)
        rows = x[:, None] if x.ndim == 2 else x
        if rows.ndim != 3 or rows.shape[1] not in (1, horizon) or rows.shape[2] != outcomes:
            raise ModelError(
                f"C[{i}] ({m.name!r}) has shape {x.shape[1:]}; write {outcomes} log-preferences, one per outcome,"
                f" or {horizon} rows of them, one per step of the horizon"
            )
        rows = rows - rows.max(axis=-1, keepdims=True)
        normalised.append(rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True)))
    return normalised


def _initial(D: list[np.ndarray] | None, factors: tuple[Factor, ...]) -> list[np.ndarray]:
    if D is None:
        return [np.full((1, len(f.states)), 1 / len(f.states)) for f in factors]
    for i, (f, d) in enumerate(zip(factors, D, strict=True)):
        check_shape(f"D[{i}] ({f.name!r})", d, (len(f.states),), "one probability per state")
        check_distribution(f"D[{i}] ({f.name!r})", d)
    return D


def _check_counts(given: dict[str, list[np.ndarray]]) -> None:
    """Dirichlet counts have the shape of what they are counts of."""
    for label in ("pA", "pB", "pD"):
        for i, x in enumerate(given.get(label, ())):
            check_shape(f"{label}[{i}]", x, given[label[1:]][i].shape[1:], f"the shape of {label[1:]}[{i}]")
            check_counts(f"{label}[{i}]", x)
