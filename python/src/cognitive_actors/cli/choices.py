"""Choices that the command line offers by name."""

from enum import Enum


class OnError(str, Enum):
    fail = "fail"
    skip = "skip"
