"""Everything in the flake evaluates: evaluation tests, snapshots, every host and the driver of every VM test."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import nix

pytestmark = pytest.mark.skipif(nix.command() is None, reason=nix.MISSING)


def test_all_checks_evaluate() -> None:
    checked = nix.run("flake", "check", "--no-build", nix.flake(), timeout=900)
    assert checked.returncode == 0, checked.stderr[-4000:]


def test_what_the_flake_offers() -> None:
    shown = nix.run("flake", "show", "--json", nix.flake())
    assert shown.returncode == 0, shown.stderr[-4000:]
    offered = json.loads(shown.stdout)
    assert offered["nixosConfigurations"].keys() == {"head", "worker", "gpu-worker", "client"}
    assert offered["nixosModules"].keys() == {"default", "ray"}
    assert offered["packages"]["x86_64-linux"].keys() >= {"default", "docs", "ray-env", "cognitive-actors"}
    assert offered["packages"].keys() == {"x86_64-linux", "aarch64-linux"}
    for name in ("apps", "checks", "devShells", "formatter", "overlays", "templates", "lib"):
        assert offered[name], name
