"""Stages: the workspaces of single agents, whose contents are known by name, and their form as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .roster import pack_names, unpack_names
from .workspace import WorkspaceState

#: A content habituated by less than this is forgotten, so that names do not pile up.
FORGOTTEN = 1e-6
_SLOTTED, _CLOCKS = ("habituation", "active", "strength"), ("last_ignition", "time")


@dataclass(frozen=True)
class Stage:
    """One agent's workspace: the contents known by name, in the order of the state's slots (one agent, K slots)."""

    names: list[str]
    state: WorkspaceState


def widened(state: WorkspaceState, slots: int) -> WorkspaceState:
    """The state with empty slots added, up to ``slots``."""
    extra = slots - state.habituation.shape[1]

    def pad(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(1, extra)], dim=1)

    return replace(state, habituation=pad(state.habituation), active=pad(state.active), strength=pad(state.strength))


def without_forgotten(names: list[str], state: WorkspaceState) -> Stage:
    """The stage with the contents that are held or habituated, and no others."""
    keep = (state.active | (state.habituation > FORGOTTEN))[0]
    kept = [name for name, k in zip(names, keep.tolist(), strict=True) if k]
    fresh = replace(
        state,
        habituation=state.habituation[:, keep],
        active=state.active[:, keep],
        strength=state.strength[:, keep],
    )
    return Stage(kept, fresh)


def pack_stages(stages: Mapping[int, Stage]) -> dict[str, np.ndarray]:
    """Stages by agent as arrays, equal to the bit.

    agents, slots: int64 (S,), whose stage it is and how many slots it has; names, name_lengths: of all slots, as
    :func:`pack_names`; habituation, active, strength: (sum of slots,); last_ignition, time: (S,).
    """
    states = [stage.state for stage in stages.values()]
    arrays = {
        "agents": np.array(list(stages), dtype=np.int64),
        "slots": np.array([len(stage.names) for stage in stages.values()], dtype=np.int64),
        **pack_names([name for stage in stages.values() for name in stage.names]),
    }
    for field in (*_SLOTTED, *_CLOCKS):
        parts = [getattr(state, field).reshape(-1).cpu().numpy() for state in states]
        empty = np.zeros(0, dtype=bool if field == "active" else np.float64)
        arrays[field] = np.concatenate([empty, *parts])
    return arrays


def unpack_stages(arrays: Mapping[str, np.ndarray]) -> dict[int, Stage]:
    """The inverse of :func:`pack_stages`. Raises ValueError, naming the array, where they do not fit together."""
    names, slots = unpack_names(arrays), arrays["slots"].tolist()
    for field in (*_SLOTTED, *_CLOCKS):
        wanted = (len(names),) if field in _SLOTTED else (len(slots),)
        dtype = np.dtype(bool if field == "active" else np.float64)
        if arrays[field].shape != wanted or arrays[field].dtype != dtype:
            found = f"{arrays[field].dtype} {arrays[field].shape}"
            raise ValueError(f"array {field!r} is {found} in the stored state, not {dtype} {wanted}")
    if sum(slots) != len(names) or len(arrays["agents"]) != len(slots) or min(slots, default=0) < 0:
        raise ValueError(f"the stored stages have {sum(slots)} slots for {len(names)} names; the state is damaged")
    stages, end = {}, 0
    for i, (agent, count) in enumerate(zip(arrays["agents"].tolist(), slots, strict=True)):
        start, end = end, end + count
        held = {field: torch.from_numpy(arrays[field][start:end].copy())[None] for field in _SLOTTED}
        clocks = {field: torch.from_numpy(arrays[field][i : i + 1].copy()) for field in _CLOCKS}
        stages[agent] = Stage(names[start:end], WorkspaceState(**held, **clocks))
    return stages
