"""The command line: `python tests/containers SCENARIO…`."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

from . import llama, requirements, scenario, snapshot
from .errors import ScenarioTimeout
from .log import Log
from .workspace import Workspace

FAILED, UNUSABLE, IMPOSSIBLE = 1, 2, 77


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/containers", description="Runs scenarios of tests/scenarios on systemd-nspawn containers."
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="all but those with faults when none is named")
    parser.add_argument("--faults", action="store_true", help="all those with faults")
    parser.add_argument("--list", action="store_true", help="name the scenarios and their machines, and run nothing")
    parser.add_argument("--keep", action="store_true", help="leave files and consoles of the machines afterwards")
    parser.add_argument(
        "--shell", action="store_true", help="start the machines and wait for Ctrl-C instead of testing"
    )
    parser.add_argument("--limit", type=float, default=scenario.LIMIT, metavar="SECONDS", help="for each scenario")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run scenarios: 0 all passed, 1 one did not, 2 a name is wrong, 77 this machine cannot run containers."""
    options = _parse(arguments)
    try:
        faults = scenario.names(scenario.FAULTS) if options.faults else []
        paths = [scenario.find(name) for name in (*options.scenarios, *faults) or scenario.names()]
    except ValueError as error:
        print(error, file=sys.stderr)
        return UNUSABLE
    if options.list:
        nodes = snapshot.load(scenario.NODES)
        for path in paths:
            print(f"{path.stem}: {', '.join(node.name for node in scenario.machines_of(path.read_text(), nodes))}")
        return 0
    if lacking := requirements.missing_for_scenarios():
        print("\n".join(lacking), file=sys.stderr)
        return IMPOSSIBLE
    signal.signal(signal.SIGTERM, _terminate)
    if options.shell:
        for path in paths[:1]:
            _shell(path.read_text())
        return 0
    failed = []
    for path in paths:
        try:
            scenario.run(path, keep=options.keep, limit=options.limit)
        except (Exception, ScenarioTimeout):
            traceback.print_exc()
            failed.append(path.stem)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return FAILED if failed else 0


def _shell(text: str) -> None:
    """Boot the machines that a scenario's text names, say how to enter them, and wait for Ctrl-C."""
    log = Log()
    with Workspace() as workspace:
        nodes = scenario.machines_of(text, snapshot.load(scenario.NODES))
        driver = scenario.Driver(workspace, nodes, log, llama.binds(text))
        driver.start_all()
        for machine in driver.machines:
            machine.connect()
        for machine in driver.machines:
            log.log(f"nsenter --target {machine.container.init} --all -- bash --login", machine.name)
        log.log("Ctrl-C ends the machines")
        try:
            signal.pause()
        except KeyboardInterrupt:
            log.log("ending the machines")
