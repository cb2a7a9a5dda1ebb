"""Where a language model's coordinator runs and where its layers go. No Ray, no network, nothing else of here."""

from __future__ import annotations

from .errors import ModelUnfit
from .facts import Device, Node
from .gguf import read_sizes
from .model_sizes import ModelSizes
from .planner import plan
from .plans import DoesNotFit, Plan

__all__ = ["Device", "DoesNotFit", "ModelSizes", "ModelUnfit", "Node", "Plan", "plan", "read_sizes"]
