"""``cognitive bench``: how fast the pipeline is here."""

from __future__ import annotations


def command() -> None:
    """placeholder"""
