"""A scenario: a script of tests/scenarios, the machines that it names, and its run."""

from __future__ import annotations

import ast
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from . import image, llama, snapshot, store
from .container import Container
from .errors import ScenarioTimeout
from .log import Log
from .machine import Machine, retry
from .snapshot import Node
from .store import Bind
from .workspace import Workspace

TESTS = Path(__file__).resolve().parents[1]
SCENARIOS, NODES = TESTS / "scenarios", TESTS / "nodes"
# They take half an hour together, most of it waiting.
FAULTS = SCENARIOS / "faults"
SHARED = "cluster.py"
LIMIT = 1800
_JOURNAL_LINES = 60


def names(directory: Path = SCENARIOS) -> list[str]:
    """The scenarios that there are in a directory."""
    return sorted(path.stem for path in directory.glob("*.py") if path.name != SHARED)


def find(name: str, directory: Path = SCENARIOS) -> Path:
    """The file of a scenario, also of one of those with faults. Raises ValueError for a name that is none."""
    places = directory, directory / FAULTS.name
    for place in places:
        if name in names(place):
            return place / f"{name}.py"
    known = ", ".join(name for place in places for name in names(place)) or "none"
    raise ValueError(f"no scenario {name!r}; there are: {known} (in {directory})")


def variable(machine: str) -> str:
    """The name by which a scenario knows a machine."""
    return machine.replace("-", "_")


def machines_of(text: str, nodes: dict[str, Node]) -> list[Node]:
    """The nodes that a scenario's text names."""
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    return [node for name, node in nodes.items() if variable(name) in used]


class Driver:
    """The machines of one run, and what a scenario finds as globals. binds: besides those of every machine."""

    def __init__(self, workspace: Workspace, nodes: list[Node], log: Log, binds: Iterable[Bind] = ()) -> None:
        self.log = log
        environment = workspace.directory / "ray-env"
        environment.mkdir()
        binds = [*store.make_environment(environment), *binds]
        root = image.ensure()
        self.machines = [
            Machine(Container(workspace, node, number, root, binds), log) for number, node in enumerate(nodes)
        ]

    def start_all(self) -> None:
        """Start all machines; does not wait until they have booted."""
        for machine in self.machines:
            machine.start()

    def join_all(self) -> None:
        """Wait until all machines are off."""
        for machine in self.machines:
            machine.wait_for_shutdown()

    def symbols(self) -> dict[str, Any]:
        """The globals of a scenario."""
        named = {variable(machine.name): machine for machine in self.machines}
        if len(self.machines) == 1:
            named["machine"] = self.machines[0]
        return {
            "__name__": "__scenario__",
            "driver": self,
            "join_all": self.join_all,
            "log": self.log,
            "Machine": Machine,
            "machines": self.machines,
            "retry": retry,
            "start_all": self.start_all,
            "subtest": self.log.subtest,
            **named,
        }

    def report(self) -> None:
        """Say what the machines have to say after a failure."""
        for machine in self.machines:
            self.log.log("--- what it says:", machine.name)
            if not machine.container.running:
                self.log.log(machine.container.console_end() or "(it was never started)", machine.name)
                continue
            script = (
                "systemctl --failed --no-pager --no-legend --plain; "
                f"journalctl --no-pager --quiet --lines={_JOURNAL_LINES} --unit='ray-*'"
            )
            self.log.log(machine.container.run(script, timeout=30).output.decode(errors="replace"), machine.name)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise ScenarioTimeout inside when it takes longer."""

    def over(_signal: int, _frame: FrameType | None) -> None:
        raise ScenarioTimeout(f"the scenario was not done after {seconds:g} seconds")

    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("scenarios run in the main thread: their time limit is a signal")
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def execute(path: Path, driver: Driver, limit: float = LIMIT) -> None:
    """Run a scenario's text, with what scenarios share before it, on machines. Raises what it raises."""
    symbols = driver.symbols()
    shared = next((place / SHARED for place in path.parents[:2] if (place / SHARED).exists()), None)
    try:
        with _at_most(limit):
            for source in (shared, path):
                if source is not None:
                    exec(compile(source.read_text(), str(source), "exec"), symbols)
    except (Exception, ScenarioTimeout) as error:
        driver.log.error(f"FAILED: {error}")
        driver.report()
        raise


def run(path: Path, *, nodes: Path = NODES, keep: bool = False, limit: float = LIMIT, log: Log | None = None) -> float:
    """Make the machines of a scenario, run it on them and end them; the seconds that it took."""
    log = log or Log()
    text = path.read_text()
    chosen = machines_of(text, snapshot.load(nodes))
    if not chosen:
        raise ValueError(f"{path} names no machine of {nodes}; the machines are its variables")
    begin = time.monotonic()
    with Workspace(keep=keep) as workspace:
        log.log(f"scenario {path.stem} on {', '.join(node.name for node in chosen)}")
        if keep:
            log.log(f"files and consoles of the machines: {workspace.directory}")
        execute(path, Driver(workspace, chosen, log, llama.binds(text)), limit)
    log.log(f"scenario {path.stem}: passed")
    return time.monotonic() - begin
