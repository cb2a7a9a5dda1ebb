"""What ``cognitive bootstrap`` may be about, by name."""

from enum import StrEnum


class Mode(StrEnum):
    """organism: the actors that services share; dispatchers: those who work on tasks; all: both."""

    all = "all"
    organism = "organism"
    dispatchers = "dispatchers"
