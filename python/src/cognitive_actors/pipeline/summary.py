"""Figures of a run, read off its results in bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from ..core.model import GenerativeModel
from ..core.modulator_parameters import MODULATORS
from .table import SCALARS


def summarize(parts: Iterable[Path], model: GenerativeModel) -> dict[str, Any]:
    """Means of the energies and modulators, how often each modality was broadcast, and the actions taken.

    A figure that is not finite is None.
    """
    means = [*SCALARS, *MODULATORS]
    broadcast = [f"broadcast.{m.name}" for m in model.modalities]
    actions = [f"action.{f.name}" for f in model.factors if f.controllable]
    sums, extremes = dict.fromkeys(means, 0.0), {name: (np.inf, -np.inf) for name in means}
    seen, taken = dict.fromkeys(broadcast, 0), {name: Counter[str]() for name in actions}
    agents: set[str] = set()
    rows = 0
    for part in parts:
        with pq.ParquetFile(part, pre_buffer=False) as file:
            for batch in file.iter_batches(columns=["agent", *means, *broadcast, *actions], use_threads=False):
                rows += batch.num_rows
                agents.update(batch["agent"].unique().to_pylist())
                for name in means:
                    x = batch[name].to_numpy(zero_copy_only=False)
                    sums[name] += float(x.sum(dtype=np.float64))
                    low, high = extremes[name]
                    extremes[name] = (min(low, float(x.min())), max(high, float(x.max())))
                for name in broadcast:
                    seen[name] += int(batch[name].to_numpy(zero_copy_only=False).sum())
                for name in actions:
                    for pair in batch[name].value_counts().to_pylist():
                        taken[name][pair["values"]] += pair["counts"]
    return {
        "agents": len(agents),
        "model": model.name,
        "figures": {
            name: {"mean": _finite(sums[name] / rows), "min": _finite(low), "max": _finite(high)}
            for name, (low, high) in extremes.items()
            if rows
        },
        "broadcast": {name.removeprefix("broadcast."): count / rows for name, count in seen.items() if rows},
        "actions": {name.removeprefix("action."): dict(count.most_common()) for name, count in taken.items()},
    }


def _finite(x: float) -> float | None:
    """What JSON can hold: None for infinity, the free energy of what the model holds impossible."""
    return x if math.isfinite(x) else None
