"""The commands and what they have in common: errors, exit codes and output for machines.

Exit codes: 0 done; 1 a fault of this program; 2 the input or the arguments are wrong; 3 the cluster cannot be
reached, has no room or keeps losing actors; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import typer
from ray.exceptions import RayError, RayTaskError
from rich.console import Console

from ..cluster import ClusterError
from ..files.errors import CheckpointError
from . import attempts, bench, bootstrap, interruption, nodes, register, report, run, serve, simulate, status

BAD_INPUT, NO_CLUSTER = 2, attempts.NO_CLUSTER
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM

app = typer.Typer(
    name="cognitive",
    help="Populations of neuromodulated active-inference agents on Ray.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("run")(run.command)
app.command("simulate")(simulate.command)
app.command("report")(report.command)
app.command("bench")(bench.command)
app.command("serve")(serve.command)
app.command("bootstrap")(bootstrap.command)
app.command("status")(status.command)
app.command("register")(register.command)
app.command("nodes")(nodes.command)


def main() -> None:
    """Run the command line; every foreseeable fault ends in one line on stderr and its exit code."""
    errors = Console(stderr=True)
    interruption.listen()
    try:
        code = app(standalone_mode=False)
    except typer.Exit as leave:
        code = leave.exit_code
    except SystemExit as leave:
        # Ray answers SIGTERM with sys.exit(SIGTERM).
        code = TERMINATED if leave.code == signal.SIGTERM else leave.code
    except (typer.Abort, KeyboardInterrupt):
        errors.print("interrupted", style="yellow")
        code = INTERRUPTED
    except (ClusterError, ConnectionError, RayError) as error:
        if isinstance(error, RayTaskError):
            raise
        code = _fail(errors, error, NO_CLUSTER)
    except (CheckpointError, ValueError, OSError) as error:
        code = _fail(errors, error, BAD_INPUT)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        code = _fail(errors, usage(), BAD_INPUT)
    sys.exit(code or 0)


def _fail(errors: Console, error: Any, code: int) -> int:
    if attempts.others_follow(code):
        attempts.say("error", error)
        return code
    if "--json" in sys.argv:
        print(json.dumps({**getattr(error, "report", {}), "error": str(error), "exit_code": code}))
    errors.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
    return code
