"""Checkpoint stores: generations of checkpoints by key, in a directory, in Redis or wherever fsspec reaches."""

from __future__ import annotations

from .generations import KEPT, Checkpoint, CheckpointStore
from .location import open_store
from .medium import StaleWriter, StoreUnavailable
from .schema import ArraySpec, SchemaMismatch, check_schema

__all__ = [
    "KEPT",
    "ArraySpec",
    "Checkpoint",
    "CheckpointStore",
    "SchemaMismatch",
    "StaleWriter",
    "StoreUnavailable",
    "check_schema",
    "open_store",
]
