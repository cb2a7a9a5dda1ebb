"""Choices that the command line offers by name."""

from enum import StrEnum


class OnError(StrEnum):
    """What a bad record does."""

    fail = "fail"
    skip = "skip"
