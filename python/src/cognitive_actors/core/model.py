"""The generative model of an active-inference agent: a discrete POMDP with factorised hidden states.

Conventions (those of SPM and pymdp, plus one leading batch axis)
------------------------------------------------------------------
``A[m]``  P(o_m | s)         (batch, outcomes_m, states of the factors that modality m depends on ...)
``B[f]``  P(s'_f | s_f, u_f) (batch, states_f next, states_f previous, actions_f)
``C[m]``  ln P(o_m)          (batch, steps, outcomes_m), normalised log-preferences in nats
``D[f]``  P(s_f at t = 0)    (batch, states_f)
``E``     P(policy)          (batch, policies), habits
``pA, pB, pD``               Dirichlet counts, shaped as A, B, D; None where nothing is learned

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

from .validation import ModelError, check_counts, check_distribution, check_finite, check_shape

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
        missing C, D and E are uniform. ``dependencies[m]`` lists the factors of modality m; by default
        every modality depends on every factor.

        Raises ModelError, naming the array, the index and what to write, for a wrong shape, a value that is
        not finite or negative, or a column that does not sum to one.
        """
        if not A or not B:
            raise ModelError("A and B must each hold at least one array: one A per modality, one B per factor")
        if horizon < 1:
            raise ModelError(f"horizon is {horizon}; write a whole number of steps, 1 or more")
        lead = (lambda x: x) if batched else (lambda x: x[None])
        arrays = {
            label: [lead(_array(f"{label}[{i}]", x)) for i, x in enumerate(xs)]
            for label, xs in {"A": A, "B": B}.items()
        }
        factors = tuple(factors) if factors is not None else _default_factors(arrays["B"])
        modalities = (
            tuple(modalities)
            if modalities is not None
            else _default_modalities(arrays["A"], dependencies, len(factors))
        )
        _check_structure(factors, modalities, arrays["A"], arrays["B"])
        sizes = [len(f.states) for f in factors]
        policies = math.prod(len(f.actions) for f in factors) ** horizon

        C_arrays = [
            _log_preferences(f"C[{i}] ({m.name!r})", C[i] if C is not None else None, len(m.outcomes), horizon, batched)
            for i, m in enumerate(modalities)
        ]
        D_arrays = [
            np.full((1, n), 1 / n) if D is None else lead(_array(f"D[{i}]", D[i])) for i, n in enumerate(sizes)
        ]
        for i, (f, d) in enumerate(zip(factors, D_arrays, strict=True)):
            check_shape(f"D[{i}] ({f.name!r})", d, (len(f.states),), "one probability per state")
            check_distribution(f"D[{i}] ({f.name!r})", d)
        E_array = np.full((1, policies), 1 / policies) if E is None else lead(_array("E", E))
        check_shape("E", E_array, (policies,), "one probability per policy")
        check_distribution("E", E_array)

        def tensors(xs: Sequence[np.ndarray]) -> tuple[Tensor, ...]:
            return tuple(torch.as_tensor(x, dtype=dtype, device=device).contiguous() for x in xs)

        def counts(label: str, xs: Sequence[Any] | None, like: Sequence[np.ndarray]) -> tuple[Tensor, ...] | None:
            if xs is None:
                return None
            if len(xs) != len(like):
                raise ModelError(f"{label} has {len(xs)} arrays; write {len(like)}, one for each of {label[1:]}")
            given = [lead(_array(f"{label}[{i}]", x)) for i, x in enumerate(xs)]
            for i, (x, y) in enumerate(zip(given, like, strict=True)):
                check_shape(f"{label}[{i}]", x, y.shape[1:], f"the shape of {label[1:]}[{i}]")
                check_counts(f"{label}[{i}]", x)
            return tensors(given)

        return cls(
            factors=factors,
            modalities=modalities,
            A=tensors(arrays["A"]),
            B=tensors(arrays["B"]),
            C=tensors(C_arrays),
            D=tensors(D_arrays),
            E=tensors([E_array])[0],
            horizon=horizon,
            pA=counts("pA", pA, arrays["A"]),
            pB=counts("pB", pB, arrays["B"]),
            pD=counts("pD", pD, D_arrays),
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
        return math.prod(self.num_actions) ** self.horizon

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
    def shared(self) -> bool:
        """True where no array has a batch axis longer than one."""
        return all(x.shape[0] == 1 for x in self.tensors().values())

    def tensors(self) -> dict[str, Tensor]:
        """Every array under a flat name: ``A_0``, ``B_1``, ..., ``E``, ``pA_0``."""
        named: dict[str, Tensor] = {"E": self.E}
        for label in ("A", "B", "C", "D", "pA", "pB", "pD"):
            for i, x in enumerate(getattr(self, label) or ()):
                named[f"{label}_{i}"] = x
        return named

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> GenerativeModel:
        """The same model in another precision or on another device."""

        def move(xs: tuple[Tensor, ...] | None) -> tuple[Tensor, ...] | None:
            return None if xs is None else tuple(x.to(dtype=dtype, device=device) for x in xs)

        return replace(
            self,
            E=self.E.to(dtype=dtype, device=device),
            **{label: move(getattr(self, label)) for label in ("A", "B", "C", "D", "pA", "pB", "pD")},
        )


def _array(label: str, value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    try:
        x = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{label} is not a rectangular array of numbers: {error}") from None
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
        raise ModelError(f"dependencies has {len(dependencies)} entries; write {len(A)}, one per modality")
    return tuple(
        Modality(f"modality_{i}", tuple(f"outcome_{o}" for o in range(a.shape[1])), tuple(dependencies[i]))
        for i, a in enumerate(A)
    )


def _check_structure(
    factors: tuple[Factor, ...], modalities: tuple[Modality, ...], A: list[np.ndarray], B: list[np.ndarray]
) -> None:
    for label, named, arrays in (("factor", factors, B), ("modality", modalities, A)):
        if len(named) != len(arrays):
            raise ModelError(f"{len(named)} {label} names for {len(arrays)} arrays; write one array for each {label}")
        names = [x.name for x in named]
        for name in names:
            if names.count(name) > 1:
                raise ModelError(f"two of the {label} names are {name!r}; give each {label} a name of its own")
    for i, (f, b) in enumerate(zip(factors, B, strict=True)):
        n = len(f.states)
        check_shape(f"B[{i}] ({f.name!r})", b, (n, n, len(f.actions)), "next state, previous state, action")
        check_distribution(f"B[{i}] ({f.name!r})", b)
    for i, (m, a) in enumerate(zip(modalities, A, strict=True)):
        if not m.factors or len(set(m.factors)) < len(m.factors) or not set(m.factors) <= set(range(len(factors))):
            raise ModelError(
                f"modality {i} ({m.name!r}) depends on factors {list(m.factors)};"
                f" write a list of distinct numbers between 0 and {len(factors) - 1}"
            )
        states = tuple(len(factors[f].states) for f in m.factors)
        meaning = "outcomes, then " + ", ".join(f"states of {factors[f].name!r}" for f in m.factors)
        check_shape(f"A[{i}] ({m.name!r})", a, (len(m.outcomes), *states), meaning)
        check_distribution(f"A[{i}] ({m.name!r})", a)


def _log_preferences(label: str, value: Any, outcomes: int, horizon: int, batched: bool) -> np.ndarray:
    """Relative log-preferences as ln softmax, shaped (batch, steps, outcomes)."""
    x = np.zeros((1, 1, outcomes)) if value is None else _array(label, value)
    if value is not None:
        x = x if batched else x[None]
        x = x[:, None] if x.ndim == 2 else x
    if x.ndim != 3 or x.shape[1] not in (1, horizon) or x.shape[2] != outcomes:
        raise ModelError(
            f"{label} has shape {x.shape[1:]}; write {outcomes} log-preferences, one per outcome,"
            f" or {horizon} rows of them, one per step of the horizon"
        )
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
