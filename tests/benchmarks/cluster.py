"""What scenarios share, for benchmarks: the functions of tests/scenarios/cluster.py."""

from __future__ import annotations

from types import SimpleNamespace

from containers.scenario import SCENARIOS, SHARED, Driver


def shared(driver: Driver) -> SimpleNamespace:
    """The functions and constants that a scenario finds before its own text, on the machines of a driver."""
    symbols = driver.symbols()
    path = SCENARIOS / SHARED
    exec(compile(path.read_text(), str(path), "exec"), symbols)
    return SimpleNamespace(**symbols)
