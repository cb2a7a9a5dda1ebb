"""What the driver decides before a container runs, and what a switch inside one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from containers import llama, scenario, snapshot, store, switch
from containers.sample_nodes import write_node, write_nodes


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    return write_nodes(tmp_path / "nodes")


def test_a_package_that_containers_lack_is_refused(tmp_path: Path) -> None:
    units = {"x.service": "[Service]\nExecStart=/nix/store/frobnicate/bin/frobnicate\n"}
    write_node(tmp_path / "node", "10.9.0.3", units)
    with pytest.raises(
        store.UnknownPackage, match=r"x\.service names /nix/store/frobnicate.*add 'frobnicate' to PACKAGES"
    ):
        store.named_packages(tmp_path / "node")


def test_nodes_and_their_specialisations_are_found(nodes: Path) -> None:
    found = snapshot.load(nodes)
    assert {name: list(node.specialisations) for name, node in found.items()} == {"first": ["other"], "second": []}
    assert snapshot.networks(found["first"]) == ["wire0"]


def test_a_scenario_has_the_machines_that_it_names(nodes: Path) -> None:
    text = "# first is not used\nsecond.start()\nlog.info('first')\n"
    assert [node.name for node in scenario.machines_of(text, snapshot.load(nodes))] == ["second"]


def test_llama_is_there_for_scenarios_that_run_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installer = tmp_path / "llama-programs"
    place = "${0%/*}/cache/ray-nixos/llama-programs"
    installer.write_text(f'#!/bin/sh\n[ "$1" = "{place}" ] || {{ echo no room >&2; exit 1; }}\n')
    installer.chmod(0o755)
    monkeypatch.setattr(llama, "_INSTALLER", installer)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert llama.binds("# llama\nswitch(worker, 'other')\n") == []
    bound = [store.Bind(tmp_path / "cache/ray-nixos/llama-programs", "/nix/store/llama-cpp")]
    assert llama.binds("switch(worker, 'llama')\n") == bound
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(RuntimeError, match="no room"):
        llama.binds("switch(worker, 'llama')\n")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", switch.Plan(stop=["a.service"], start=["a.service"])),
        ("X-StopIfChanged=false", switch.Plan(restart=["a.service"])),
        ("X-RestartIfChanged=false", switch.Plan(skip=["a.service"])),
        ("X-ReloadIfChanged=true", switch.Plan(reload=["a.service"])),
    ],
)
def test_what_a_switch_does_is_said_by_the_new_unit(line: str, expected: switch.Plan) -> None:
    old, new = ({"a.service": "[Service]\nExecStart=old\n"}, {"a.service": f"[Service]\n{line}\nExecStart=new\n"})
    assert switch.plan(old, new, {"a.service"}) == expected
    assert switch.plan(old, new, set()) == switch.Plan()
    assert switch.plan(old, {"a.service": "[Unit]\nDescription=x\n" + old["a.service"]}, set()) == switch.Plan()


def test_a_configuration_takes_away_what_the_one_before_had_laid(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / switch.DIRECTORY).mkdir(parents=True)
    for name, paths in {"one": ("etc/a", "etc/b"), "two": ("etc/b", "etc/c")}.items():
        for path in paths:
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(name)
    (root / "etc").mkdir()
    (root / "etc/of-the-system").write_text("stays")
    switch.lay(tmp_path / "one", root)
    switch.lay(tmp_path / "two", root)
    assert {path.name: path.read_text() for path in (root / "etc").iterdir()} == {
        "b": "two", "c": "two", "of-the-system": "stays"
    }  # fmt: skip
