"""What can be wrong with a file of a language model."""

from __future__ import annotations

__all__ = ["DAMAGED", "ModelUnfit"]

#: How a message ends that is about bytes which no writer of files would have written.
DAMAGED = "it is damaged: copy or download it again"


class ModelUnfit(ValueError):
    """A file that is damaged, or whose model cannot be spread layer by layer. The message names file and remedy."""
