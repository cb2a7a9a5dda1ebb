"""One model, measured in a process of its own: ``python -m benchmarks.measurement MODEL``.

Both sides live in this one process and take turns, block by block, so that whatever else the machine does meets
both alike. The process is pinned to ``--processors`` processors before JAX and torch are imported; JAX makes one
thread for each of them, torch uses ``--threads``, by default one, as it does inside an actor. OMP_WAIT_POLICY=passive
(set by the caller, since it must precede the process) keeps torch's threads from spinning in JAX's turn; JAX's sleep
of their own accord. Prints JSON as its last line.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from .models import BATCHES, PlanningModel, planning_models

if TYPE_CHECKING:
    from .pymdp_side import Compiled

#: What counts as equal: the largest absolute difference of G.
EQUAL = {"float32": 1e-5, "float64": 1e-9}
#: A block of calls lasts at least this long, so that the clock and the change of turns do not matter.
BLOCK_SECONDS = 0.01
MIN_ROUNDS = 5
#: Where a round takes long, fewer have to do; and a call this long needs no other to warm the caches.
FEWEST_ROUNDS = 3
LONG_CALL = 0.1
#: pymdp is not run where its temporaries would need more than this part of the memory that is free.
MEMORY_SHARE = 0.5
#: Agents that float64 is compared on.
DOUBLE_AGENTS = 16

Calls = dict[str, Callable[[], object]]


@dataclass
class Measured:
    """One model at one number of agents. Seconds per call; keys are the ways of calling."""

    model: str
    agents: int
    seconds: dict[str, float] = field(default_factory=dict)
    minimum: dict[str, float] = field(default_factory=dict)
    rounds: int = 0
    difference: dict[str, float] = field(default_factory=dict)
    temporaries: dict[str, int] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)


def take_turns(calls: Calls, seconds: float) -> tuple[dict[str, list[float]], int]:
    """Blocks of each call in turn, round after round, for about ``seconds``; seconds per call of every block."""
    durations = {}
    for name, call in calls.items():
        call()
        start = time.perf_counter()
        call()
        durations[name] = time.perf_counter() - start
    times: dict[str, list[float]] = {name: [] for name in calls}
    begin, rounds, elapsed = time.perf_counter(), 0, 0.0
    while rounds < FEWEST_ROUNDS or elapsed < seconds or (rounds < MIN_ROUNDS and elapsed < 5 * seconds):
        # Every other round runs backwards, so that no side always follows the same one.
        for name in list(calls) if rounds % 2 == 0 else reversed(list(calls)):
            call, count = calls[name], max(1, int(BLOCK_SECONDS / max(durations[name], 1e-7)))
            # One call outside the clock: the caches still hold the other side's data.
            if durations[name] < LONG_CALL:
                call()
            start = time.perf_counter()
            for _ in range(count):
                call()
            times[name].append((time.perf_counter() - start) / count)
        rounds += 1
        elapsed = time.perf_counter() - begin
    return times, rounds


def measure(model: PlanningModel, agents: int, seconds: float, with_pymdp: bool) -> Measured:
    """Time every way of calling for one number of agents, and compare the numbers."""
    import torch

    from .engine_side import engine

    measured = Measured(model.name, agents)
    beliefs = model.beliefs(agents)
    ours = {
        "shared": engine(model, beliefs, own=False, dtype=torch.float32),
        "own": engine(model, beliefs, own=True, dtype=torch.float32),
    }
    calls: Calls = {name: e.call for name, e in ours.items()}
    if with_pymdp:
        theirs = _pymdp(model, beliefs, measured)
        for name, (compiled, count) in theirs.items():
            reference, _ = compiled.result()
            for label, e in ours.items():
                difference = float(np.abs(e.result()[0][:count] - reference[:count]).max())
                measured.difference[f"float32 {label} {name}"] = difference
            if count == agents:
                calls[name] = compiled.call
        measured.difference |= _double(model, beliefs)
    else:
        measured.not_measured["pymdp"] = "inferactively-pymdp is not installed"
    times, measured.rounds = take_turns(calls, seconds)
    measured.seconds = {name: median(x) for name, x in times.items()}
    measured.minimum = {name: min(x) for name, x in times.items()}
    return measured


def _pymdp(
    model: PlanningModel, beliefs: tuple[np.ndarray, ...], measured: Measured
) -> dict[str, tuple[Compiled, int]]:
    """Each way of calling pymdp that fits into memory, and on how many agents it runs."""
    from . import pymdp_side

    ways = {"agent": pymdp_side.agent_argument, "pymdp shared": pymdp_side.shared_model}
    if measured.agents == 1:
        ways["closure"] = pymdp_side.agent_closure
    found = {}
    for name, make in ways.items():
        # XLA plans temporaries in proportion to agents; a few agents tell what all of them would need.
        few = min(measured.agents, DOUBLE_AGENTS)
        compiled = make(model, tuple(q[:few] for q in beliefs))
        needed = compiled.temporaries() * measured.agents // few
        measured.temporaries[name] = needed
        if needed > MEMORY_SHARE * _free_memory():
            measured.not_measured[name] = f"needs {needed / 1e9:.0f} GB of temporaries"
            found[name] = (compiled, few)
        else:
            found[name] = (make(model, beliefs), measured.agents)
    return found


def _double(model: PlanningModel, beliefs: tuple[np.ndarray, ...]) -> dict[str, float]:
    import torch

    from . import pymdp_side
    from .engine_side import engine

    few = tuple(q[:DOUBLE_AGENTS] for q in beliefs)
    with pymdp_side.double_precision():
        reference, _ = pymdp_side.agent_argument(model, few).result()
    if reference.dtype != np.float64:
        raise RuntimeError(f"pymdp computed in {reference.dtype}; float64 was asked for")
    return {
        f"float64 {label} agent": float(
            np.abs(engine(model, few, own=label == "own", dtype=torch.float64).result()[0] - reference).max()
        )
        for label in ("shared", "own")
    }


def _free_memory() -> int:
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=list(planning_models()))
    parser.add_argument("--processors", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--agents", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each number of agents")
    arguments = parser.parse_args()
    # Before JAX and torch are imported: JAX makes as many threads as it sees processors.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.processors])
    import torch

    from .machine import measure_rates

    torch.set_num_threads(arguments.threads)
    model = planning_models()[arguments.model]
    with_pymdp = find_spec("pymdp") is not None
    measured = [asdict(measure(model, n, arguments.seconds, with_pymdp)) for n in arguments.agents]
    rates = [asdict(measure_rates(threads)) for threads in sorted({1, arguments.threads})]
    print(json.dumps({"measured": measured, "rates": rates}))


if __name__ == "__main__":
    main()
