"""Where the tensors of a GGUF file lie: within it, aligned, and each in a place of its own."""

from __future__ import annotations

from .errors import DAMAGED, ModelUnfit
from .gguf_header import Header
from .tensor_types import tensor_bytes

__all__ = ["placed_bytes"]

#: Bytes, GGUF_DEFAULT_ALIGNMENT of gguf.h.
_ALIGNMENT = 32


def placed_bytes(header: Header, size: int) -> dict[str, int]:
    """Bytes of each tensor by name, in the order of the file. size: bytes of the whole file.

    Raises ModelUnfit if a tensor is of an unknown type, is not aligned, reaches beyond the file or into another.
    """
    alignment = header.values.get("general.alignment", _ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise ModelUnfit(f"its general.alignment is {alignment!r}, and a power of two is needed; {DAMAGED}")
    room = size - -(-header.end // alignment) * alignment
    counts = {tensor.name: tensor_bytes(tensor.name, tensor.type, tensor.shape) for tensor in header.tensors}
    end, before = 0, ""
    for tensor in sorted(header.tensors, key=lambda tensor: tensor.offset):
        if tensor.offset % alignment:
            raise ModelUnfit(
                f"tensor {tensor.name!r} begins at {tensor.offset}, no multiple of {alignment} bytes; {DAMAGED}"
            )
        if tensor.offset < end:
            raise ModelUnfit(f"tensors {before!r} and {tensor.name!r} overlap; {DAMAGED}")
        end, before = tensor.offset + counts[tensor.name], tensor.name
        if end > room:
            raise ModelUnfit(f"tensor {tensor.name!r} ends {end - room} bytes beyond the file; {DAMAGED}")
    return counts
