"""What came of a stimulus, as a record in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.model import GenerativeModel
from ..core.modulator_parameters import MODULATORS
from ..core.roster import Chunk


def outcome_record(model: GenerativeModel, chunk: Chunk, columns: Mapping[str, np.ndarray], row: int) -> dict[str, Any]:
    """A row of what ``Roster.process`` found for a chunk: what was broadcast, free energies in nats, levels of the
    modulators afterwards, and the action by name."""
    salience, entered = columns["salience"][row], columns["broadcast"][row]
    observed = chunk.observations[row].tolist()
    contents = [
        {"modality": m.name, "content": m.outcomes[o] if o >= 0 else None, "salience": s}
        for m, o, s, b in zip(model.modalities, observed, salience.tolist(), entered, strict=True)
        if b
    ]
    contents.sort(key=lambda c: -c["salience"])
    action = columns["action"][row].tolist()
    return {
        "agent": chunk.names[row],
        "broadcast": {"broadcast": contents, "salience_max": float(salience.max(initial=0.0))},
        "free_energy": float(columns["free_energy"][row]),
        "expected_free_energy": float(columns["expected_free_energy"][row]),
        "new_state": dict(zip(MODULATORS, columns["levels"][row].tolist(), strict=True)),
        "action": {f.name: f.actions[u] for f, u in zip(model.factors, action, strict=True) if f.controllable},
    }
