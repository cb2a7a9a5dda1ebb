"""Stimuli for tests: made-up days of weather, the same in all formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

OUTCOMES = {
    "weather": ("drizzle", "rain", "sun", "snow", "fog"),
    "temperature": ("cold", "mild", "warm"),
    "wind": ("calm", "breezy", "windy"),
}
Record = dict[str, Any]


def days(agents: int, each: int, seed: int = 0) -> list[Record]:
    """``each`` records of every agent, one agent after the other on each day; some with an impulse."""
    random = np.random.default_rng(seed)
    drawn = {name: random.integers(len(names), size=(each, agents)) for name, names in OUTCOMES.items()}
    return [
        {
            "id": f"{agent}/{day}",
            "agent": f"agent-{agent}",
            "time": float(day),
            "observation": {name: OUTCOMES[name][drawn[name][day, agent]] for name in OUTCOMES},
            **({"delta": {"dopamine": 0.2, "cortisol": -0.1}} if (agent + day) % 7 == 0 else {}),
        }
        for day in range(each)
        for agent in range(agents)
    ]


def write_jsonl(path: Path, records: Sequence[Record | str]) -> Path:
    """One line per record; a text stands as it is."""
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records))
    return path


def as_table(records: Sequence[Record]) -> pa.Table:
    """Records as the columns of a CSV or Parquet file."""
    deltas = sorted({name for r in records for name in r.get("delta", {})})
    return pa.table(
        {
            **{name: [r[name] for r in records] for name in ("id", "agent", "time")},
            **{name: [r["observation"].get(name) for r in records] for name in OUTCOMES},
            **{f"delta.{name}": [r.get("delta", {}).get(name) for r in records] for name in deltas},
        }
    )


def write_csv(path: Path, records: Sequence[Record]) -> Path:
    rows = as_table(records).to_pydict()
    cells = zip(*rows.values(), strict=True)
    lines = [",".join(rows), *(",".join("" if x is None else str(x) for x in row) for row in cells)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_parquet(path: Path, records: Sequence[Record]) -> Path:
    pq.write_table(as_table(records), path)
    return path
