"""The registry's rules, by a clock of the test: whose name and whose RPC servers they are, breakers, forgetting."""

from __future__ import annotations

from dataclasses import replace

import pytest
from node_reports import device, reported

from cognitive_actors.llama.registry import Known, NodeRegistry


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> NodeRegistry:
    return NodeRegistry(clock)


def test_the_last_report_of_each_node_by_name(registry: NodeRegistry, clock: Clock) -> None:
    registry.report(reported("b"))
    registry.report(reported("a"))
    clock.now += 5
    newest = replace(reported("b"), busy=0.75)
    registry.report(newest)
    assert registry.known() == [Known(reported("a"), 5.0), Known(newest, 0.0)]


def test_a_name_belongs_to_one_node_until_its_report_is_stale(registry: NodeRegistry, clock: Clock) -> None:
    registry.report(reported("a", "one"))
    clock.now += 30
    with pytest.raises(ValueError, match=r"another node reports as 'a', from a\.example 30 s ago; give .* --name"):
        registry.report(reported("a", "two"))
    assert [(x.report.node, x.age, x.stale) for x in registry.known()] == [("one", 30.0, False)]
    clock.now += 0.5
    assert registry.known()[0].stale
    registry.report(reported("a", "two"))
    assert [x.report.node for x in registry.known()] == ["two"]


def test_a_node_that_is_lost_makes_way_at_once(registry: NodeRegistry) -> None:
    registry.report(reported("a", "one"))
    registry.report(reported("b", "two", device("10.0.0.1:50052")))
    registry.report(reported("a", "three"), lambda node: node == "one")
    registry.report(reported("c", "four", device("10.0.0.1:50052")), lambda node: node == "two")
    known = {each.report.name: each.report for each in registry.known()}
    assert {name: each.node for name, each in known.items()} == {"a": "three", "b": "two", "c": "four"}
    assert not known["b"].devices


def test_an_rpc_server_belongs_to_one_node(registry: NodeRegistry, clock: Clock) -> None:
    first, second = device("10.0.0.1:50052"), device("10.0.0.1:50053", "CPU", None)
    registry.report(reported("a", None, first, second))
    with pytest.raises(ValueError, match=r"node 'a' has the RPC server 10\.0\.0\.1:50052 already, .* give --rpc"):
        registry.report(reported("b", None, first))
    assert [x.report.name for x in registry.known()] == ["a"]
    clock.now += 31
    registry.report(reported("b", None, first))
    # Nobody sees a server twice.
    assert {x.report.name: x.report.devices for x in registry.known()} == {"a": (second,), "b": (first,)}
    clock.now += 1
    registry.report(reported("b", None))
    registry.report(reported("a", None, first, second))


def test_an_rpc_server_is_one_device(registry: NodeRegistry) -> None:
    twice = (device("10.0.0.1:50052"), device("10.0.0.1:50052", "CUDA1"))
    with pytest.raises(ValueError, match=r"'a' has the RPC server 10\.0\.0\.1:50052 twice"):
        registry.report(reported("a", None, *twice))
    assert registry.known() == []


def test_coordinators_that_fail_shut_their_node_out(registry: NodeRegistry, clock: Clock) -> None:
    registry.report(reported("a"))
    registry.report(reported("b"))
    for _ in range(3):
        registry.failed("a", None, "it ended with 1")
    assert [(x.failures, x.closed) for x in registry.known()] == [(3, False), (0, True)]
    clock.now += 60
    assert [(x.failures, x.closed) for x in registry.known()] == [(3, True), (0, True)]
    registry.failed("a", None, "it ended with 1")
    assert [(x.failures, x.closed) for x in registry.known()] == [(4, False), (0, True)]
    clock.now += 300
    assert [(x.failures, x.closed) for x in registry.known()] == [(0, True), (0, True)]


def test_rpc_servers_that_fail_are_shut_out_and_their_node_is_not(registry: NodeRegistry, clock: Clock) -> None:
    registry.report(reported("a", None, device("10.0.0.1:50052"), device("10.0.0.1:50053", "CUDA1")))
    registry.report(reported("b"))
    for _ in range(3):
        # On whichever node the coordinators were.
        registry.failed("b", "10.0.0.1:50052", "it does not answer")
    a, b = registry.known()
    assert (a.failures, a.closed, a.shut) == (0, True, frozenset({"10.0.0.1:50052"}))
    assert (b.failures, b.closed, b.shut) == (0, True, frozenset())
    clock.now += 60
    assert registry.known()[0].shut == frozenset()


def test_failures_are_remembered_of_nodes_that_have_not_reported_yet(registry: NodeRegistry) -> None:
    for _ in range(3):
        registry.failed("a", None, "it ended with 1")
    assert registry.known() == []
    registry.report(reported("a"))
    assert [(x.failures, x.closed) for x in registry.known()] == [(3, False)]


def test_nodes_that_do_not_report_are_forgotten(registry: NodeRegistry, clock: Clock) -> None:
    registry.report(reported("a"))
    clock.now += 600
    assert [(x.age, x.stale) for x in registry.known()] == [(600.0, True)]
    clock.now += 1
    assert registry.known() == []
