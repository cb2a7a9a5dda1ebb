"""Frozen dataclasses of tensors with a leading axis of agents: pick agents out, put them back, store them.

Nested dataclasses and tuples of tensors are followed; None is a value; anything else is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T")


def leaves(state: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a state with its dotted name, in a fixed order."""
    if isinstance(state, Tensor):
        yield prefix, state
    elif is_dataclass(state):
        for field in fields(state):
            yield from leaves(getattr(state, field.name), f"{prefix}.{field.name}" if prefix else field.name)
    elif isinstance(state, tuple):
        for i, part in enumerate(state):
            yield from leaves(part, f"{prefix}.{i}")


def rebuild(state: T, tensors: Mapping[str, Tensor], prefix: str = "") -> T:
    """A state like ``state`` with the tensors of the given names in place of its own."""
    if isinstance(state, Tensor):
        return tensors[prefix]  # type: ignore[return-value]
    if is_dataclass(state) and not isinstance(state, type):
        changes = {
            field.name: rebuild(getattr(state, field.name), tensors, f"{prefix}.{field.name}" if prefix else field.name)
            for field in fields(state)
        }
        return replace(state, **changes)
    if isinstance(state, tuple):
        return tuple(rebuild(part, tensors, f"{prefix}.{i}") for i, part in enumerate(state))  # type: ignore[return-value]
    return state


def take(state: T, index: Tensor) -> T:
    """The state of some agents. index: int64 (k,)."""
    return rebuild(state, {name: x.index_select(0, index) for name, x in leaves(state)})


@torch.inference_mode()
def put_(state: Any, index: Tensor, part: Any) -> None:
    """Write the state of some agents back, in place: for an owner that keeps one large state."""
    source = dict(leaves(part))
    for name, x in leaves(state):
        x.index_copy_(0, index, source[name])


def concatenate(first: T, second: T) -> T:
    """Two populations as one, the second's agents behind the first's."""
    other = dict(leaves(second))
    return rebuild(first, {name: torch.cat([x, other[name]]) for name, x in leaves(first)})


def to_arrays(state: Any) -> dict[str, np.ndarray]:
    """Copies of all tensors as numpy arrays, by name: what a checkpoint stores."""
    return {name: x.detach().cpu().numpy().copy() for name, x in leaves(state)}


def from_arrays(like: T, arrays: Mapping[str, np.ndarray]) -> T:
    """The inverse of :func:`to_arrays`; ``like`` gives structure, types and all shapes but the number of agents.

    Raises ValueError, naming the array, for one that is missing, unexpected, of another type or shape, or for another
    number of agents than the rest.
    """
    expected = dict(leaves(like))
    for name in sorted(expected.keys() ^ arrays.keys()):
        kind = "missing from" if name in expected else "unknown in"
        raise ValueError(f"array {name!r} is {kind} the stored state; it belongs to another model or version")
    tensors: dict[str, Tensor] = {}
    for name, x in expected.items():
        stored = torch.from_numpy(np.array(arrays[name]))
        if stored.dtype != x.dtype or stored.dim() != x.dim() or stored.shape[1:] != x.shape[1:]:
            raise ValueError(
                f"array {name!r} is {stored.dtype} {tuple(stored.shape)} in the stored state, not {x.dtype}"
                f" {tuple(x.shape)}; it belongs to another model"
            )
        first, agents = next(((f, len(t)) for f, t in tensors.items()), (name, len(stored)))
        if len(stored) != agents:
            raise ValueError(
                f"array {name!r} is for {len(stored)} agents and {first!r} for {agents}; the stored state is damaged"
            )
        tensors[name] = stored.to(x.device)
    return rebuild(like, tensors)
