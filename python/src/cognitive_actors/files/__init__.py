"""Everything that touches the disk: models, stimuli, results and checkpoints. No Ray; core below, nothing above."""

from __future__ import annotations

from .batch import Batch, Reject
from .checkpoint import load_arrays, save_arrays
from .errors import CheckpointError, InputError
from .models import ModelError, load_model, save_model
from .results import append_rejects, concatenate, write_json, write_part
from .stimuli import count_stimuli, read_stimuli

__all__ = [
    "Batch",
    "CheckpointError",
    "InputError",
    "ModelError",
    "Reject",
    "append_rejects",
    "concatenate",
    "count_stimuli",
    "load_arrays",
    "load_model",
    "read_stimuli",
    "save_arrays",
    "save_model",
    "write_json",
    "write_part",
]
