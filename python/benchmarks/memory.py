"""The memory that one call of the planner adds, in a fresh process: ``python -m benchmarks.memory MODEL --agents N``.

It counts resident memory as the kernel sees it, results included: the high-water mark during the call less what was
resident before it. Prints JSON as its last line.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
from pathlib import Path

from .models import planning_models


def added_by(call: object) -> int:
    """Bytes by which the high-water mark of resident memory rises above the present while ``call`` runs."""
    assert callable(call)
    return_free_memory()
    exact = reset_high_water()
    before = _status("VmRSS") if exact else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = call()
    after = _status("VmHWM") if exact else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    del result
    return max(0, after - before)


def return_free_memory() -> None:
    """Give freed memory back to the kernel, where the allocator can: using it again then counts as added."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def reset_high_water() -> bool:
    """Set the high-water mark to the present; False where the kernel does not let us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {name}")


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=list(planning_models()))
    parser.add_argument("--agents", type=int, required=True)
    parser.add_argument("--own", action="store_true", help="one model for each agent instead of one for all")
    arguments = parser.parse_args()
    import torch

    from .engine_side import engine

    torch.set_num_threads(1)
    model = planning_models()[arguments.model]
    # What torch loads at the first call of each kind is not a temporary of planning.
    engine(model, model.beliefs(2), own=arguments.own, dtype=torch.float32).call()
    planning = engine(model, model.beliefs(arguments.agents), own=arguments.own, dtype=torch.float32)
    print(json.dumps({"added_bytes": added_by(planning.call)}))


if __name__ == "__main__":
    main()
