"""How long a cluster takes to recover: services.ray beside bare `ray start --block`, under the same faults.

Both run on the same machines in the same run, with the same flags, the same environment and the same storage. Bare Ray
is a unit as somebody would write it, with Restart=always and RestartSec=2, but without the supervisor. Rounds
alternate, each begins with a cluster that knows nothing, and what is compared is the medians.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import watch  # noqa: E402
from cluster import shared  # noqa: E402
from unit import Unit  # noqa: E402
from watch import Watch  # noqa: E402

from containers import requirements, snapshot  # noqa: E402
from containers.errors import CommandFailed  # noqa: E402
from containers.log import Log  # noqa: E402
from containers.machine import Machine, retry  # noqa: E402
from containers.scenario import NODES, Driver  # noqa: E402
from containers.workspace import Workspace  # noqa: E402

HEAD, WORKER = "10.42.0.1", "10.42.0.2"
TOKENS = {"head": "/var/lib/ray/token", "worker": "/var/lib/secrets/ray-token"}
KINDS = ("bare", "unit")
SLOWER, EXTRA_SECONDS = 1.2, 1.0
NEVER_SECONDS = 60.0
# While this file is there, it is bare Ray that the machine boots with.
_BARE = "/root/bare"
_CLEAR = "find /var/lib/ray/s /var/lib/ray/gcs /var/lib/ray/spill -mindepth 1 -delete 2> /dev/null || true"

Machines = dict[str, Machine]


@dataclass(frozen=True)
class Fault:
    """What is done to a cluster, and what is watched meanwhile.

    strike: does it, given the process that the first watch is about; the moment, in nanoseconds.
    """

    name: str
    strike: Callable[[Machines, int], int]
    watches: tuple[Watch, ...]


def _signal(machine: Machine, name: str, process: object) -> int:
    return int(machine.succeed(f"kill -{name} {process}; date +%s%N").strip())


def _of_process(machines: Machines, process: int) -> int:
    return _signal(machines["worker"], "KILL", process)


def _of(machine: str, name: str, program: str) -> Callable[[Machines, int], int]:
    return lambda machines, _: _signal(machines[machine], name, f"$(pgrep --uid ray --exact {program})")


def _off_and_on(machines: Machines, _process: int) -> int:
    machines["head"].shutdown()
    on = time.time_ns()
    machines["head"].start()
    return on


_ACTOR = Watch("worker", "actor", WORKER, "actor answers", True)
_TASK = Watch("worker", "task", WORKER, "task's result", True)
_CALL = Watch("worker", "call", WORKER, "look-up by name and call", False)
_HEAD_NODE = Watch("worker", "node", HEAD, "node alive", True)
_WORKER_NODE = Watch("head", "node", WORKER, "node alive", True)
FAULTS = (
    Fault("actor, SIGKILL", _of_process, (_ACTOR,)),
    Fault("worker process of a task, SIGKILL", _of_process, (_TASK,)),
    Fault("raylet, SIGKILL", _of("worker", "KILL", "raylet"), (_WORKER_NODE,)),
    Fault("GCS, SIGKILL", _of("head", "KILL", "gcs_server"), (_CALL, _HEAD_NODE)),
    Fault("head's machine on again", _off_and_on, (_CALL, _HEAD_NODE)),
    # The last: bare Ray does not come back from it.
    Fault("raylet, SIGTERM", _of("worker", "TERM", "raylet"), (_WORKER_NODE,)),
)


class Cluster:
    """A head and a worker that run either kind of node."""

    def __init__(self, driver: Driver) -> None:
        head, worker = driver.machines
        self.machines: Machines = {"head": head, "worker": worker}
        self._shared: SimpleNamespace = shared(driver)
        self._shared.bring_up(head, worker)
        for name, machine in self.machines.items():
            watch.install(machine)
            units = "etc/systemd/system"
            text = Unit.read(NODES / name / units / f"ray-{name}.service", TOKENS[name]).bare_file()
            drop_in = f"/{units}/ray-{name}.service.d"
            machine.succeed(
                f"cat > /{units}/bare.service <<'END'\n{text}END",
                f"mkdir -p {drop_in}; printf '[Unit]\nConditionPathExists=!{_BARE}\n' > {drop_in}/bare.conf",
                "systemctl daemon-reload",
            )
        self.stop("unit")

    def start(self, kind: str) -> None:
        """Start a cluster that knows nothing, and wait until both nodes are alive."""
        for name, machine in self.machines.items():
            enable = f"rm -f {_BARE}; systemctl disable"
            if kind == "bare":
                enable = f"touch {_BARE}; systemctl enable"
            machine.succeed(f"{_CLEAR}; {enable} --quiet bare; systemctl start {_unit(kind, name)}", timeout=180)
        self.wait()

    def wait(self) -> None:
        """Wait until both nodes are alive."""

        def whole(_last_attempt: bool) -> bool:
            try:
                return len(self._shared.alive_nodes(self.machines["head"])) == len(self.machines)
            except (CommandFailed, ValueError):
                return False  # the dashboard is not there yet, or has nothing to say

        retry(whole, 180)

    def stop(self, kind: str) -> None:
        """Stop both nodes, the worker first: it drains with the help of its head."""
        for name, machine in reversed(self.machines.items()):
            machine.succeed(f"systemctl stop {_unit(kind, name)}", timeout=120)

    def suffer(self, fault: Fault) -> dict[tuple[str, str], float]:
        """Seconds until each watch has its answer, infinite when it never came."""
        begun = [(each, each.start(self.machines[each.machine])) for each in fault.watches]
        since = fault.strike(self.machines, begun[0][1][0])
        found = {}
        for each, (_, before) in begun:
            took = each.wait(self.machines[each.machine], since, before, NEVER_SECONDS)
            found[fault.name, each.figure] = math.inf if took is None else took
            self.machines[each.machine].log(f"{fault.name}: {each.figure}: {found[fault.name, each.figure]:.2f} s")
        for each, _ in begun:
            each.stop(self.machines[each.machine])
        return found


def _unit(kind: str, name: str) -> str:
    return "bare" if kind == "bare" else f"ray-{name}"


def measure(cluster: Cluster, kind: str, faults: Sequence[Fault]) -> dict[tuple[str, str], float]:
    """One round of one kind: seconds by fault and figure."""
    found: dict[tuple[str, str], float] = {}
    cluster.start(kind)
    for fault in faults:
        found |= cluster.suffer(fault)
        if math.inf not in found.values():
            cluster.wait()
    cluster.stop(kind)
    return found


def compare(rounds: dict[str, list[dict[tuple[str, str], float]]]) -> list[dict[str, object]]:
    """Rows of the comparison: medians, their ratio, what is allowed and whether it was kept; None is never."""
    rows: list[dict[str, object]] = []
    for fault, figure in rounds["bare"][0]:
        each = {kind: [found[fault, figure] for found in rounds[kind]] for kind in KINDS}
        bare, ours = (statistics.median(each[kind]) for kind in KINDS)
        limit = bare * SLOWER + EXTRA_SECONDS
        row = {"fault": fault, "until": figure, "bare": _finite(bare), "services.ray": _finite(ours)}
        row |= {"ratio": _finite(ours / bare) if math.isfinite(bare) else None, "at most": _finite(limit)}
        rounds_of_row = {kind: [_finite(value) for value in each[kind]] for kind in KINDS}
        rows.append({**row, "kept": math.isfinite(ours) and ours <= limit, "rounds": rounds_of_row})
    return rows


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def markdown(rows: list[dict[str, object]]) -> str:
    """The rows as a table."""
    lines = [
        "| fault | until | bare `ray start`, s | services.ray, s | ratio | at most, s | |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    never = f"never within {NEVER_SECONDS:.0f} s"
    for row in rows:
        seconds = [never if row[name] is None else f"{row[name]:.2f}" for name in ("bare", "services.ray")]
        others = ["" if row[name] is None else f"{row[name]:.2f}" for name in ("ratio", "at most")]
        cells = [str(row["fault"]), str(row["until"]), *seconds, *others, "kept" if row["kept"] else "NOT KEPT"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def run(number: int, faults: Sequence[Fault]) -> list[dict[str, object]]:
    """Measure both kinds in alternating rounds."""
    nodes = snapshot.load(NODES)
    rounds: dict[str, list[dict[tuple[str, str], float]]] = {kind: [] for kind in KINDS}
    with Workspace() as workspace:
        cluster = Cluster(Driver(workspace, [nodes["head"], nodes["worker"]], Log()))
        for each in range(number):
            for kind in KINDS if each % 2 else reversed(KINDS):
                rounds[kind].append(measure(cluster, kind, faults))
    return compare(rounds)


def main() -> int:
    """Print the table, and write it and every round's figures to a directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="TEXT", help="the faults that have this in their name")
    options = parser.parse_args()
    if missing := requirements.missing():
        print("\n".join(missing), file=sys.stderr)
        return 77
    faults = [fault for fault in FAULTS if options.only in fault.name]
    if not faults:
        parser.error(f"no fault has {options.only!r} in its name; there are: {'; '.join(each.name for each in FAULTS)}")
    rows = run(options.rounds, faults)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "recovery.md").write_text(markdown(rows))
    (options.output / "recovery.json").write_text(json.dumps(rows, indent=1))
    print(markdown(rows))
    return 0 if all(row["kept"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
