"""What a router may do."""

from __future__ import annotations

from dataclasses import dataclass

from ..placement.policies import POLICIES

__all__ = ["BASE_PORT", "CONTEXT", "RouterOptions"]

#: Ports of coordinators begin here, as in SOLLOL's guide; tokens of cache that one has, unless given.
BASE_PORT, CONTEXT = 18080, 4096


@dataclass(frozen=True)
class RouterOptions:
    """The options of :class:`~cognitive_actors.llama.RayHybridRouter`, which says what each means.

    backends: the only RPC servers to be used, None for all that are reported; here: id of the only node that may be a
    coordinator, None for any. Raises ValueError for a policy that there is none of, and for numbers below 1.
    """

    enable_distributed: bool = True
    backends: frozenset[str] | None = None
    here: str | None = None
    num_pools: int = 1
    coordinator_base_port: int = BASE_PORT
    policy: str = "exact"
    context: int = CONTEXT
    waiting: int = 8
    load_seconds: float = 300.0

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy {self.policy!r}; write one of {', '.join(POLICIES)}")
        for name in ("num_pools", "coordinator_base_port", "context", "waiting"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; write 1 or more")
        if not self.load_seconds > 0:
            raise ValueError(f"load_seconds is {self.load_seconds:g}; write the seconds that a model may load for")
