"""Tasks under fire: ``python -m benchmarks.dispatch --tasks 100000``.

Three dispatchers work through the tasks of an SQLite file, or of a PostgreSQL server with ``--postgres``, while their
processes are killed with SIGKILL at random, and the ledger's as well. Prints tasks per second, kills, recoveries, and
what was lost or doubled (see tests/dispatch/under_fire.py for how that is seen), as JSON in the last line. The exit
code is 1 where something was, or where it was not all done in time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

_TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(_TESTS), str(_TESTS / "dispatch")]

from postgres_server import postgres_server  # noqa: E402
from under_fire import under_fire  # noqa: E402

from cognitive_actors.cluster import ensure_ray_initialized  # noqa: E402


def main() -> int:
    """Run it once and print what became of the tasks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000, metavar="N")
    parser.add_argument("--kills", type=int, default=12, metavar="N", help="kills of dispatchers")
    parser.add_argument("--ledger-kills", type=int, default=4, metavar="N", help="kills of the ledger")
    parser.add_argument("--seconds", type=float, default=300.0, metavar="S", help="given up after so long")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of who is killed, and when")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own")
    given = parser.parse_args()
    ensure_ray_initialized("local", num_cpus=2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = stack.enter_context(postgres_server()).url if given.postgres else str(folder / "tasks.db")
        outcome = under_fire(
            place, folder, given.tasks, given.kills, given.ledger_kills, seconds=given.seconds, seed=given.seed
        )
    rate = outcome.done / outcome.work_seconds
    print(
        f"{outcome.done} of {outcome.tasks} tasks done in {outcome.work_seconds:.0f} s, {rate:.0f} tasks/s"
        f" (enqueued at {outcome.tasks / outcome.enqueue_seconds:.0f} tasks/s); {outcome.dispatcher_kills} kills of"
        f" dispatchers, {outcome.ledger_kills} of the ledger, {outcome.recoveries} recoveries; {outcome.lost} lost,"
        f" {outcome.doubled} doubled, {outcome.unfounded} made up; {outcome.again} attempts made again"
    )
    print(
        json.dumps({"database": "PostgreSQL" if given.postgres else "SQLite", **asdict(outcome), "tasks_per_s": rate})
    )
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
