"""What a language model takes, in bytes, as its file says it: the unit of placement is a layer."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes of a value in the key-value cache, by the name that llama-server's --cache-type-k takes.
CACHE_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32}


@dataclass(frozen=True)
class ModelSizes:
    """A model as the planner sees it.

    name: for people; architecture: as the file has it; blocks: bytes of the weights of each layer, first to last;
    output: bytes of the output unit, which follows the last layer (final norm and output matrix); host: bytes that stay
    on the coordinator's host (the token embedding); kv_heads, key_length, value_length: of attention, the same in all
    layers; context: tokens that it was trained for.
    """

    name: str
    architecture: str
    blocks: tuple[int, ...]
    output: int
    host: int
    kv_heads: int
    key_length: int
    value_length: int
    context: int

    @property
    def units(self) -> int:
        """Layers and the output unit: what -ngl counts."""
        return len(self.blocks) + 1

    def cache(self, context: int, key: str = "f16", value: str = "f16") -> int:
        """Bytes of the key-value cache of one layer for so many tokens.

        llama.cpp rounds the tokens up to a multiple of 256.
        """
        rows = -(-context // 256) * 256
        return round(
            rows * self.kv_heads * (self.key_length * CACHE_BYTES[key] + self.value_length * CACHE_BYTES[value])
        )
