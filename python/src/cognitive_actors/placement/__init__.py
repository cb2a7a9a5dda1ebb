"""Where the layers of a language model go: what its file says it takes. No Ray, no network, nothing else of here."""

from __future__ import annotations

from .errors import ModelUnfit
from .gguf import read_sizes
from .model_sizes import ModelSizes

__all__ = ["ModelSizes", "ModelUnfit", "read_sizes"]
