"""The scenarios of tests/scenarios on containers; tests/nixos runs the same ones on NixOS machines."""

from __future__ import annotations

import pytest

from containers import requirements, scenario

IMPOSSIBLE = requirements.missing_for_scenarios()


@pytest.mark.skipif(bool(IMPOSSIBLE), reason="; ".join(IMPOSSIBLE) or "possible")
@pytest.mark.parametrize("name", scenario.names())
def test_scenario(name: str) -> None:
    """A scenario passes; what it did is in the captured output."""
    scenario.run(scenario.find(name))
