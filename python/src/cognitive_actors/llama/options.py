"""What a router may do."""

from __future__ import annotations

from dataclasses import dataclass

from ..placement.policies import POLICIES

__all__ = ["CONTEXT", "RouterOptions"]

#: Tokens of cache that a coordinator has, unless given.
CONTEXT = 4096


@dataclass(frozen=True)
class RouterOptions:
    """The options of :class:`~cognitive_actors.llama.RayHybridRouter`, which says what each means.

    backends: the only RPC servers to be used, None for all that are reported; coordinator_base_port: None for what each
    node says; here: id of the only node that may be a
    coordinator, None for any. Raises ValueError for a policy that there is none of, and for numbers below 1.
    """

    enable_distributed: bool = True
    backends: frozenset[str] | None = None
    here: str | None = None
    num_pools: int = 1
    coordinator_base_port: int | None = None
    policy: str = "exact"
    context: int = CONTEXT
    waiting: int = 8
    load_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy {self.policy!r}; write one of {', '.join(POLICIES)}")
        if self.coordinator_base_port is not None and not 1 <= self.coordinator_base_port <= 65535:
            raise ValueError(f"coordinator_base_port is {self.coordinator_base_port}; write a port, as 18080")
        for name in ("num_pools", "context", "waiting"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; write 1 or more")
        if not self.load_seconds > 0:
            raise ValueError(f"load_seconds is {self.load_seconds:g}; write the seconds that a model may load for")
