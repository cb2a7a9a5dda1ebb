"""Results as a table: one row per stimulus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ..core.model import GenerativeModel
from ..core.modulator_parameters import MODULATORS

#: Columns with one number per stimulus, as ``Outcome`` names them.
SCALARS = ("free_energy", "expected_free_energy", "policy_entropy", "precision", "surprise")


def schema(model: GenerativeModel) -> pa.Schema:
    """id, agent, time, action.FACTOR, policy, energies, salience.MODALITY, broadcast.MODALITY and the modulators."""
    number = pa.float64() if model.dtype.itemsize == 8 else pa.float32()
    fields = [pa.field("id", pa.string()), pa.field("agent", pa.string()), pa.field("time", pa.float64())]
    fields += [pa.field(f"action.{f.name}", pa.string()) for f in model.factors if f.controllable]
    fields.append(pa.field("policy", pa.int64()))
    fields += [pa.field(name, number) for name in SCALARS]
    fields += [pa.field(f"salience.{m.name}", pa.float64()) for m in model.modalities]
    fields += [pa.field(f"broadcast.{m.name}", pa.bool_()) for m in model.modalities]
    fields += [pa.field(name, pa.float64()) for name in MODULATORS]
    return pa.schema(fields)


def table(
    model: GenerativeModel, ids: Sequence[str], agents: Sequence[str], columns: dict[str, np.ndarray]
) -> pa.Table:
    """The rows of one chunk; stimuli marked ``late`` are left out."""
    kept = np.flatnonzero(~columns["late"])
    rows = schema(model)
    if not len(kept):
        return rows.empty_table()
    every = len(kept) == len(ids)
    arrays: list[pa.Array] = [
        pa.array(ids if every else [ids[i] for i in kept.tolist()], pa.string()),
        pa.array(agents if every else [agents[i] for i in kept.tolist()], pa.string()),
    ]
    arrays.append(pa.array(columns["time"][kept]))
    for f, factor in enumerate(model.factors):
        if factor.controllable:
            names = np.array(factor.actions, dtype=object)
            arrays.append(pa.array(names[columns["action"][kept, f]], pa.string()))
    arrays.append(pa.array(columns["policy"][kept]))
    arrays += [pa.array(columns[name][kept]) for name in SCALARS]
    for name in ("salience", "broadcast"):
        arrays += [pa.array(columns[name][kept, m]) for m in range(len(model.modalities))]
    arrays += [pa.array(columns["levels"][kept, i]) for i in range(len(MODULATORS))]
    return pa.Table.from_arrays([a.cast(f.type) for a, f in zip(arrays, rows, strict=True)], schema=rows)
