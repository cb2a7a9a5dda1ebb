"""What this machine can do at best, and how much of it the best formulation of planning needs.

The bound is that of arithmetic alone: the matrix products at the rate of a large product, plus the logarithms of the
predicted outcomes at the rate of a vectorised logarithm in cache. No traffic, no overhead of calls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from .models import PlanningModel


@dataclass(frozen=True)
class Rates:
    """Throughput with a number of threads: GFLOP/s of float32 products, 10^9 logarithms per second."""

    threads: int
    gemm: float
    gemm_narrow: float
    log: float


@dataclass(frozen=True)
class Work:
    """Operations per agent of the best formulation known here."""

    flops: float
    logs: float

    def bound(self, rates: Rates, agents: int) -> float:
        """Seconds that ``agents`` agents cannot be faster than."""
        return agents * (self.flops / rates.gemm + self.logs / rates.log) / 1e9


def measure_rates(threads: int) -> Rates:
    """Rates with ``threads`` threads; the caller's number of threads is restored."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b, out = torch.rand(1024, 1024), torch.rand(1024, 1024), torch.empty(1024, 1024)
        narrow, columns = torch.rand(1024, 64), torch.rand(64, 1024)
        # 128 KiB in, 128 KiB out for each thread: in the second-level cache.
        x, y = torch.rand(threads << 15) + 0.1, torch.empty(threads << 15)
        return Rates(
            threads,
            gemm=2 * 1024**3 / _seconds(lambda: torch.mm(a, b, out=out)) / 1e9,
            gemm_narrow=2 * 64 * 1024**2 / _seconds(lambda: torch.mm(narrow, columns, out=out)) / 1e9,
            log=x.numel() / _seconds(lambda: torch.log(x, out=y)) / 1e9,
        )
    finally:
        torch.set_num_threads(before)


def planning_work(model: PlanningModel) -> Work:
    """The cheaper of two exact ways to predict the outcomes of every prefix of actions.

    Fused: one matrix from the joint belief to all predicted outcomes. Tree: each factor moves by itself, then each
    modality contracts its factors, the one with the fewest prefixes first. Either way one logarithm per outcome and
    one more column for what is linear in the state.
    """
    joint = math.prod(model.states)
    fused, tree, logs = 0.0, 0.0, 0.0
    for t in range(1, model.horizon + 1):
        prefixes = [u**t for u in model.actions]
        fused += 2 * joint * math.prod(prefixes) * (sum(a.shape[0] for a in model.A) + 1)
        tree += sum(2 * p * s * s for p, s in zip(prefixes, model.states, strict=True))
        for a, factors in zip(model.A, model.dependencies, strict=True):
            rows, remaining = 1, math.prod(model.states[f] for f in factors)
            for f in sorted(factors, key=prefixes.__getitem__):
                rows *= prefixes[f]
                tree += 2 * rows * remaining * (a.shape[0] + 1)
                remaining //= model.states[f]
            logs += rows * a.shape[0]
    return Work(min(fused, tree), logs)


def _seconds(call: Callable[[], object], rounds: int = 15) -> float:
    """The median of several rounds of at least two milliseconds each."""
    call()
    start = time.perf_counter()
    call()
    repeats = max(1, int(0.002 / max(time.perf_counter() - start, 1e-7)))
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        times.append((time.perf_counter() - start) / repeats)
    return median(times)
