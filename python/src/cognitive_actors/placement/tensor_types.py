"""How many bytes a tensor takes, by its type and shape.

Source: ``GGML_QUANT_SIZES`` of PyPI's ``gguf`` 0.19, with which a test compares the table; the numbers of types never
change, since files hold them. Types in which no weights are stored are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .errors import ModelUnfit

__all__ = ["TENSOR_TYPES", "tensor_bytes"]

#: By the number that a file has: name, entries of a block, bytes of a block. A row is a whole number of blocks.
TENSOR_TYPES: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
}


def tensor_bytes(name: str, number: int, shape: Sequence[int]) -> int:
    """Bytes of the tensor ``name``: number of its type, and shape with the length of a row first, as files have it.

    Raises ModelUnfit for a type that is not in the table, and for rows that are no whole number of blocks.
    """
    if number not in TENSOR_TYPES:
        known = ", ".join(known for known, _, _ in TENSOR_TYPES.values())
        raise ModelUnfit(
            f"tensor {name!r} is of type {number}, of which is not known what it takes; "
            f"write a file that is quantized in one of {known}"
        )
    kind, entries, size = TENSOR_TYPES[number]
    if shape[0] % entries:
        raise ModelUnfit(
            f"tensor {name!r} has rows of {shape[0]} entries, and {kind} has blocks of {entries}; get the file anew"
        )
    return math.prod(shape) // entries * size
