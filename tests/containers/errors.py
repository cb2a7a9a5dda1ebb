"""What goes wrong on a machine, and what a test finds wrong there."""

from __future__ import annotations


class MachineError(Exception):
    """A machine could not do what was asked of it."""


class RequestedAssertionFailed(Exception):
    """Something that a scenario asked for did not hold."""


class CommandFailed(RequestedAssertionFailed):
    """A command ended otherwise than the scenario asked."""

    def __init__(self, said: str, command: str, status: int, output: str) -> None:
        super().__init__(f"{said}\n{output}".rstrip())
        self.command = command
        self.status = status
        self.output = output


class ScenarioTimeout(BaseException):
    """A scenario took longer than it may; not an Exception, so that a scenario's own `except` lets it pass."""
