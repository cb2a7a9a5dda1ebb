"""A node of services.ray beside a bare `ray start --block`: start, stop and idle memory, in one container in one run.

Both get the same flags and the same environment. Ready means the same for both: the health services of GCS and raylet
answer and every door of the node is open. Rounds alternate, and what is compared is the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from unit import Unit  # noqa: E402

from containers import requirements, snapshot  # noqa: E402
from containers.log import Log  # noqa: E402
from containers.machine import Machine  # noqa: E402
from containers.scenario import NODES, Driver  # noqa: E402
from containers.workspace import Workspace  # noqa: E402

TOKEN = "/var/lib/secrets/ray-token"
SLOWER, EXTRA_SECONDS, MORE_MEMORY = 1.15, 1.0, 1.05
_IDLE_SECONDS = 10
_PROBE = """
import sys, time
sys.path.insert(0, "/nix/store/ray-node")
from grpc_health import is_serving
from ray_node import _accepts
health, doors = (part.split(",") for part in sys.argv[1:])
deadline = time.monotonic() + 120
while not (all(is_serving(a, 5.0) for a in health) and all(map(_accepts, doors))):
    assert time.monotonic() < deadline, "not ready within two minutes"
    time.sleep(0.05)
"""


def seconds(machine: Machine, command: str) -> float:
    """How long a command takes, measured on the machine itself."""
    said = machine.succeed(f"began=$(date +%s%N); {command}; echo $(( $(date +%s%N) - began ))", timeout=240)
    return int(said.strip().splitlines()[-1]) / 1e9


def megabytes(machine: Machine, unit: str) -> float:
    """Proportional set size of all processes of a unit."""
    said = machine.succeed(
        f"for pid in $(cat /sys/fs/cgroup/system.slice/{unit}.service/cgroup.procs); do "
        "cat /proc/$pid/smaps_rollup 2>/dev/null || true; done | awk '/^Pss:/ { sum += $2 } END { print sum }'"
    )
    return int(said) / 1024


def measure(machine: Machine, unit: Unit, kind: str) -> dict[str, float]:
    """Start, idle and stop one node: figures by name."""
    if kind == "bare":
        name = "bare"
        probe = (
            f"/nix/store/ray-env/bin/python3 -SsE /root/probe.py {unit.addresses('health')} {unit.addresses('door')}"
        )
        start = seconds(machine, f"{unit.bare()}; {probe}")
    else:
        name = unit.name
        start = seconds(machine, f"systemctl start {unit.name}")
    time.sleep(_IDLE_SECONDS)
    memory = megabytes(machine, name)
    stop = seconds(machine, f"systemctl stop {name}")
    return {"start, s": start, "stop, s": stop, "idle memory, MB": memory}


def compare(machine: Machine, unit: Unit, rounds: int) -> list[dict[str, object]]:
    """Rows of the comparison on one machine, after a round of each that is thrown away."""
    machine.succeed(f"cat > /root/probe.py <<'END'\n{_PROBE}END")
    found: dict[str, list[dict[str, float]]] = {"bare": [], "unit": []}
    for number in range(rounds + 1):
        for kind in ("bare", "unit") if number % 2 else ("unit", "bare"):
            figures = measure(machine, unit, kind)
            if number:
                found[kind].append(figures)
    rows: list[dict[str, object]] = []
    for what in found["bare"][0]:
        bare, ours = (statistics.median(each[what] for each in found[kind]) for kind in ("bare", "unit"))
        limit = bare * MORE_MEMORY if "memory" in what else bare * SLOWER + EXTRA_SECONDS
        row = {"node": unit.name, "figure": what, "bare": bare, "services.ray": ours, "at most": limit}
        rows.append({**row, "kept": ours <= limit, "rounds": found})
    return rows


def markdown(rows: list[dict[str, object]]) -> str:
    """The rows as a table."""
    lines = ["| node | figure | bare `ray start` | services.ray | at most | |", "|---|---|---:|---:|---:|---|"]
    for row in rows:
        numbers = " | ".join(f"{row[name]:.2f}" for name in ("bare", "services.ray", "at most"))
        lines.append(f"| {row['node']} | {row['figure']} | {numbers} | {'kept' if row['kept'] else 'NOT KEPT'} |")
    return "\n".join(lines) + "\n"


def run(rounds: int) -> list[dict[str, object]]:
    """Measure a head alone, then a worker beside a head."""
    nodes = snapshot.load(NODES)
    units = NODES / "head/etc/systemd/system/ray-head.service", NODES / "worker/etc/systemd/system/ray-worker.service"
    with Workspace() as workspace:
        head, worker = Driver(workspace, [nodes["head"], nodes["worker"]], Log()).machines
        head.wait_for_unit("ray-head.service", timeout=180)
        token = head.succeed("cat /var/lib/ray/token").strip()
        head.succeed("systemctl stop ray-head")
        rows = compare(head, Unit.read(units[0], "/var/lib/ray/token"), rounds)
        head.succeed("systemctl start ray-head")
        worker.succeed("systemctl stop ray-worker")
        worker.succeed(
            f"install -d {Path(TOKEN).parent}; install -m 0640 -g ray /dev/null {TOKEN}; echo {token} > {TOKEN}"
        )
        rows += compare(worker, Unit.read(units[1], TOKEN), rounds)
    return rows


def main() -> int:
    """Print the table, and write it and every round's figures to a directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if missing := requirements.missing():
        print("\n".join(missing), file=sys.stderr)
        return 77
    rows = run(options.rounds)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "nodes.md").write_text(markdown(rows))
    (options.output / "nodes.json").write_text(json.dumps(rows, indent=1))
    print(markdown(rows))
    return 0 if all(row["kept"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
