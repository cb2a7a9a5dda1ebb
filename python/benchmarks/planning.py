"""Planning speed and memory beside pymdp: ``python -m benchmarks.planning --output DIR``.

Times the expected free energy of all policies together with the policy posterior. Writes planning.md and
planning.json. Exit code 1 if the two sides' numbers are not equal; a ratio that is not reached is shown, not failed.
Without pymdp installed (benchmarks/requirements.txt) it measures this package alone and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .machine import Rates, planning_work
from .measurement import EQUAL
from .models import BATCHES, planning_models

#: Least ratio of medians, pymdp's Agent over this package, that is promised: (model, agents, models in memory).
PROMISED = {
    **{(f"S{h}", 1024, "shared"): 4.0 for h in (1, 2, 3, 4)},
    **{(f"T{h}", 1024, "shared"): 12.0 for h in (2, 3)},
    ("M3", 1024, "shared"): 40.0,
    ("M3", 1024, "own"): 20.0,
    ("L1_3", 1024, "shared"): 25.0,
    ("S1", 1, "shared"): 0.7,
    **{(name, 1, "shared"): 1.5 for name in ("T2", "T3", "L1_3", "L5_2")},
    ("M3", 1, "shared"): 5.0,
    ("L5_3", 1, "shared"): 30.0,
}
#: Most bytes that one call may add: (model, agents).
MEMORY = {("M3", 1024): 200e6, ("L5_3", 1024): 2e9}
NOT_MEASURED = "not measured"
#: What every measured process gets, and so both sides alike. Threads that spin between parallel regions would take
#: the processors from the other side. glibc hands large temporaries back to the kernel after every call and pays for
#: them again, page by page, at the next, or does not, depending on what else lies on the heap; told to keep them, it
#: always does the same.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "passive",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 28),
}

Row = dict[str, Any]


def run(module: str, *arguments: str, threads: int, environment: Mapping[str, str]) -> Any:
    """The JSON that a measurement in a fresh process prints last."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        env={**os.environ, **environment, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def collect(models: list[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure every model, one process each, and the memory of the large ones."""
    report: dict[str, Any] = {"machine": describe(arguments), "rows": [], "memory": []}
    for name in models:
        print(f"{name} ...", file=sys.stderr, flush=True)
        options = ["--agents", *map(str, arguments.agents), "--seconds", str(arguments.seconds)]
        options += ["--processors", str(arguments.processors), "--threads", str(arguments.threads)]
        found = run("measurement", name, *options, threads=arguments.threads, environment=ENVIRONMENT)
        for row in found["measured"]:
            report["rows"].append(row | {"rates": found["rates"]})
    for (name, agents), limit in MEMORY.items():
        if name in models and agents in arguments.agents:
            # Memory that was kept from before the call would not show: here the allocator is as it comes.
            added = run("memory", name, "--agents", str(agents), threads=1, environment={})["added_bytes"]
            theirs = next(r for r in report["rows"] if (r["model"], r["agents"]) == (name, agents))["temporaries"]
            report["memory"].append(
                {"model": name, "agents": agents, "added": added, "limit": limit, "pymdp": theirs.get("agent")}
            )
    return report


def describe(arguments: argparse.Namespace) -> dict[str, Any]:
    """The machine, the settings and the versions."""
    versions = {}
    for package in ("torch", "numpy", "inferactively-pymdp", "jax"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": _processor(),
        "processors": arguments.processors,
        "threads": arguments.threads,
        "environment": " ".join(f"{key}={value}" for key, value in ENVIRONMENT.items()),
        "python": platform.python_version(),
        **versions,
    }


def unequal(rows: list[Row]) -> list[str]:
    """Every comparison of G that exceeds what its precision allows."""
    return [
        f"{row['model']}, {row['agents']} agents, {pair}: max |difference of G| {difference:.1e}"
        for row in rows
        for pair, difference in row["difference"].items()
        # NaN compares false with everything: it is unequal too.
        if not difference <= EQUAL[pair.split()[0]]
    ]


def ratio(row: Row, ours: str, theirs: str) -> float | None:
    """How many times longer pymdp takes, as a ratio of medians; None where it was not measured."""
    return row["seconds"][theirs] / row["seconds"][ours] if theirs in row["seconds"] else None


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    lines = [
        "# Planning: expected free energy of all policies and the policy posterior",
        "",
        ", ".join(f"{key} {value}" for key, value in report["machine"].items()),
        "",
        "Milliseconds per call (medians of interleaved blocks, float32). *shared*: one model for all agents;",
        "*own*: one for each, as in pymdp's `Agent` (jitted, the agent as argument); *by hand*: pymdp's functions",
        "mapped over beliefs alone; *of bound*: the least time the arithmetic of the prefix tree takes here,",
        "over the time taken with a shared model (above 100 % where prefixes that lead to the same place are merged).",
        "",
        "| model | policies | agents | shared | own | Agent | Agent / shared | promised | Agent / own | promised"
        " | by hand | by hand / shared | of bound | max ΔG |",
        "|---" * 14 + "|",
        *(_table_row(row) for row in report["rows"]),
    ]
    if report["memory"]:
        lines += [
            "",
            "| model | agents | added by one call, MB | at most | pymdp's temporaries, MB |",
            "|---" * 5 + "|",
        ]
        for m in report["memory"]:
            theirs = NOT_MEASURED if m["pymdp"] is None else f"{m['pymdp'] / 1e6:.0f}"
            lines.append(
                f"| {m['model']} | {m['agents']} | {m['added'] / 1e6:.0f} | {m['limit'] / 1e6:.0f} | {theirs} |"
            )
    lines += ["", "| threads | GEMM GFLOP/s | GEMM, 64 deep | 10⁹ logarithms/s |", "|---" * 4 + "|"]
    lines += [
        f"| {r['threads']} | {r['gemm']:.0f} | {r['gemm_narrow']:.0f} | {r['log']:.2f} |"
        for r in report["rows"][-1]["rates"]
    ]
    reasons = {
        f"{row['model']}, {row['agents']} agents, {way}: not measured, {reason}"
        for row in report["rows"]
        for way, reason in row["not_measured"].items()
    }
    return "\n".join([*lines, "", *sorted(reasons), ""])


def _table_row(row: Row) -> str:
    model = planning_models()[row["model"]]
    seconds = row["seconds"]
    bound = planning_work(model).bound(Rates(**row["rates"][-1]), row["agents"])
    difference = max((d for pair, d in row["difference"].items() if pair.startswith("float32")), default=None)
    cells = [
        row["model"],
        str(model.policies),
        str(row["agents"]),
        _milliseconds(seconds.get("shared")),
        _milliseconds(seconds.get("own")),
        _milliseconds(seconds.get("agent")),
        *_promise(row, "shared"),
        *_promise(row, "own"),
        _milliseconds(seconds.get("pymdp shared")),
        _times(ratio(row, "shared", "pymdp shared")),
        f"{100 * bound / seconds['shared']:.0f} %",
        NOT_MEASURED if difference is None else f"{difference:.1e}",
    ]
    return "| " + " | ".join(cells) + " |"


def _promise(row: Row, ours: str) -> tuple[str, str]:
    """The ratio to Agent, and what was promised for it."""
    reached, promised = ratio(row, ours, "agent"), PROMISED.get((row["model"], row["agents"], ours))
    if promised is None:
        return _times(reached), ""
    if reached is None:
        return NOT_MEASURED, f"{promised:g}x"
    return _times(reached), f"{promised:g}x" if reached >= promised else f"{promised:g}x, **missed**"


def _times(x: float | None) -> str:
    return NOT_MEASURED if x is None else f"{x:.2f}x" if x < 10 else f"{x:.0f}x"


def _milliseconds(seconds: float | None) -> str:
    return NOT_MEASURED if seconds is None else f"{seconds * 1e3:.3g}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def main() -> int:
    """Measure, write the report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", nargs="+", choices=list(planning_models()), default=list(planning_models()))
    parser.add_argument("--agents", type=int, nargs="+", default=list(BATCHES))
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each model and number of agents")
    parser.add_argument("--processors", type=int, default=len(os.sched_getaffinity(0)), help="for both sides")
    parser.add_argument("--threads", type=int, default=1, help="torch's; an actor uses one")
    arguments = parser.parse_args()
    if find_spec("pymdp") is None:
        print(
            "pymdp is not installed: this package is measured alone."
            " For the comparison: pip install -r benchmarks/requirements.txt",
            file=sys.stderr,
        )
    report = collect(arguments.models, arguments)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "planning.json").write_text(json.dumps(report, indent=1))
    table = markdown(report)
    (arguments.output / "planning.md").write_text(table)
    print(table)
    problems = unequal(report["rows"])
    for problem in problems:
        print(f"not equal: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
