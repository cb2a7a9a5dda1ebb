"""`cognitive run`, again and again, on three machines while a random process is killed every 20 seconds.

Killed are worker processes, raylets, actors, agents and the GCS, on any machine, that of the driver included. Each run
is compared with an undisturbed one: results that are lost, doubled or different must be 0. The figures are the
throughput beside that of the undisturbed run, and how long it took after each kill until the run committed further and
all nodes were alive again.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import soak_report  # noqa: E402
from cluster import shared  # noqa: E402
from kills import Kills  # noqa: E402
from soak_report import Run  # noqa: E402

from containers import requirements, snapshot  # noqa: E402
from containers.errors import CommandFailed  # noqa: E402
from containers.log import Log  # noqa: E402
from containers.scenario import NODES, Driver  # noqa: E402
from containers.workspace import Workspace  # noqa: E402

MACHINES = ("head", "worker", "worker2")
EVERY_SECONDS = 20.0
INTERRUPTED = 130
# Without progress for this long the soak gives up: `cognitive run` does so by itself after as long.
_STUCK_SECONDS = 600.0
_LOOK_SECONDS = 0.5
_SCRIPTS = "/usr/local/lib"
_NODES = (
    "curl --silent --max-time 5 --noproxy '*' --header \"Authorization: Bearer $(cat /var/lib/ray/token)\" "
    "http://{head}:8265/api/v0/nodes"
)


class Soak:
    """A soak on running machines, as far as it has come; the driver of the runs is the last machine.

    seconds, records: how long processes have been killed, and what was committed in that time.
    """

    def __init__(self, driver: Driver, seed: int) -> None:
        self.log = driver.log
        self.head, _, self.machine = driver.machines
        self.cluster: SimpleNamespace = shared(driver)
        self.kills = Kills(driver.machines, seed)
        self.undisturbed = Run("undisturbed")
        self.runs: list[Run] = []
        self.seconds, self.records = 0.0, 0
        self._finished = self._committed = 0
        self._begin = time.monotonic()

    def prepare(self, *workers: Any) -> None:
        """Bring the cluster up, and make two runs that nothing disturbs: one to compare with, one to measure."""
        self.cluster.bring_up(self.head, *workers)
        self.nodes = self._alive()
        for name in ("comparison.py", "soak_stimuli.py"):
            self.machine.copy_from_host(str(Path(__file__).with_name(name)), f"{_SCRIPTS}/{name}")
        self.machine.succeed(
            self.cluster.as_ray(f"python3 {_SCRIPTS}/soak_stimuli.py {self.cluster.RUNS}"), timeout=120
        )
        self.cluster.start_run(self.machine, "calm")
        self.cluster.finish_run(self.machine, "calm")
        began = time.monotonic()
        self.cluster.start_run(self.machine, self.undisturbed.name)
        while self._under_way(self.undisturbed):
            time.sleep(_LOOK_SECONDS)
        self._end(self.undisturbed, time.monotonic() - began)
        if not self.undisturbed.good:
            raise RuntimeError(f"two runs that nothing disturbed differ: {self.undisturbed}")

    def disturb(self, seconds: float, every: float) -> None:
        """Run and kill for so long, and let the last run end in peace."""
        self._begin, next_kill, moved = time.monotonic(), every, 0.0
        while self._now() < seconds:
            began, run = self._now(), Run(f"soak-{len(self.runs)}")
            self.runs.append(run)
            self.cluster.start_run(self.machine, run.name)
            while self._under_way(run):
                before = self._committed
                self._look(run, seconds)
                moved = self._now() if self._committed > before else moved
                if self._now() - moved > _STUCK_SECONDS:
                    run.failed = f"nothing was committed for {_STUCK_SECONDS:g} s"
                    return
                if next_kill <= self._now() < seconds:
                    self._strike()
                    next_kill += every
                time.sleep(_LOOK_SECONDS)
            self._end(run, self._now() - began)
            self._finished += run.records
            self.kills.run_ended()
            self._look(run, seconds)
        while self.kills.open() and self._now() - moved < _STUCK_SECONDS:
            self._look(self.runs[-1], seconds)
            time.sleep(_LOOK_SECONDS)

    def _now(self) -> float:
        return time.monotonic() - self._begin

    def _under_way(self, run: Run) -> bool:
        return str(self.cluster.unit_state(self.machine, f"run-{run.name}")) == "running"

    def _strike(self) -> None:
        kill = self.kills.strike(self._now(), self._committed)
        if kill is not None:
            self.log.log(f"killed at {kill.at:.0f} s: {kill.kind} {kill.process}", kill.machine)

    def _look(self, run: Run, limit: float) -> None:
        """Take in how far the runs have come and which nodes are alive."""
        # A run that puts its output in place has no progress any more.
        unfinished = 0 if run.records else self.cluster.committed(self.machine, run.name)
        self._committed = max(self._committed, self._finished + unfinished)
        if self._now() <= limit or not self.seconds:
            self.seconds, self.records = self._now(), self._committed
        whole = bool(self.kills.open()) and self._alive() == self.nodes
        for kill in self.kills.observe(self._now(), self._committed, whole):
            self.log.log(f"recovered after {kill.recovered:.1f} s: {kill.kind} of {kill.at:.0f} s", kill.machine)

    def _alive(self) -> list[str]:
        """Addresses of the nodes that are alive; none when the head does not answer."""
        status, said = self.head.execute(_NODES.format(head=self.cluster.HEAD), timeout=20)
        try:
            nodes = json.loads(said)["data"]["result"]["result"]
        except (ValueError, KeyError, TypeError):
            return []
        return sorted(node["node_ip"] for node in nodes if not status and node["state"] == "ALIVE")

    def _end(self, run: Run, seconds: float) -> None:
        """Compare a run that has ended."""
        run.seconds = seconds
        directory = self.cluster.RUNS
        try:
            self.cluster.finish_run(self.machine, run.name)
            said = self.machine.succeed(
                f"python3 {_SCRIPTS}/comparison.py {directory}/calm {directory}/{run.name}", timeout=120
            )
            for name, count in json.loads(said).items():
                setattr(run, name, count)
            self.cluster.compare_runs(self.machine, run.name)
        except (AssertionError, CommandFailed) as error:
            run.failed = str(error)
            self.log.error(f"run {run.name} FAILED: {error}")


def run(minutes: float, seed: int) -> tuple[dict[str, Any], bool]:
    """Soak a cluster: all figures, and whether it was interrupted."""
    nodes = snapshot.load(NODES)
    with Workspace() as workspace:
        soak = Soak(Driver(workspace, [nodes[name] for name in MACHINES], Log()), seed)
        interrupted = False
        try:
            soak.prepare(*soak.kills.machines[1:])
            soak.disturb(60 * minutes, EVERY_SECONDS)
        except KeyboardInterrupt:
            interrupted = True
        found: dict[str, Any] = {"minutes": minutes, "seed": seed, "every": EVERY_SECONDS, "interrupted": interrupted}
        found |= soak_report.figures(soak.undisturbed, soak.runs, soak.kills.all, soak.records, soak.seconds)
        found |= {"of_runs": [asdict(each) for each in soak.runs], "kills": [asdict(each) for each in soak.kills.all]}
    return found, interrupted


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """0 nothing lost, doubled or different; 1 something was; 77 no containers here; 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0, help="for so long processes are killed")
    parser.add_argument("--seed", type=int, help="of the random kills; drawn and printed when left out")
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks"), metavar="DIR")
    options = parser.parse_args()
    if missing := requirements.missing():
        print("\n".join(missing), file=sys.stderr)
        return 77
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"the seed of the kills is {seed}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    found, interrupted = run(options.minutes, seed)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "soak.md").write_text(soak_report.markdown(found))
    (options.output / "soak.json").write_text(json.dumps(found, indent=1))
    print(f"{len(found['kills'])} kills with seed {seed} in {found['seconds']:.0f} s\n\n{soak_report.markdown(found)}")
    if interrupted:
        return INTERRUPTED
    return 0 if soak_report.good(found) else 1


if __name__ == "__main__":
    sys.exit(main())
