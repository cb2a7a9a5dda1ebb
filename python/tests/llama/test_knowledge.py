"""What the planner is told: reports, what the cluster has given away, and what a router may do, put together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from node_reports import device, reported

from cognitive_actors.llama.errors import ModelUnknown
from cognitive_actors.llama.knowledge import Avoided, Holdings, facts, find_model
from cognitive_actors.llama.options import RouterOptions
from cognitive_actors.llama.registry import Known
from cognitive_actors.llama.reports import ModelReport, NodeReport
from cognitive_actors.placement import ModelSizes, ModelUnfit, Node

SIZES = ModelSizes("m", "llama", (10, 10), 5, 5, 1, 8, 8, 512)
FIRST, SECOND = "10.0.0.1:50052", "10.0.0.1:50053"
HELD = Holdings({"id-a": 1}, leased={FIRST}, offered={FIRST, SECOND})
MODELS = (ModelReport("m", "/models/m.gguf", sizes=SIZES), ModelReport("n", "/net/n.gguf", shared=True, sizes=SIZES))


def a_report() -> NodeReport:
    return replace(reported("a", None, device(FIRST), device(SECOND)), node="id-a", models=MODELS)


def fact(
    known: Known | None = None,
    held: Holdings = HELD,
    options: RouterOptions | None = None,
    avoided: Avoided | None = None,
) -> Node:
    (found,) = facts([known or Known(a_report(), 1.0)], held, options or RouterOptions(), avoided or Avoided())
    return found


def test_a_node_is_what_it_reports_and_what_the_cluster_has_left() -> None:
    found = fact(Known(a_report(), 1.0, failures=2))
    assert (found.name, found.alive, found.age, found.free_slots) == ("a", True, 1.0, 1)
    assert (found.recent_failures, found.breaker_closed, found.may_coordinate) == (2, True, True)
    assert {each.endpoint: each.leased for each in found.devices} == {FIRST: True, SECOND: False}
    assert found.files == {"/models/m.gguf"}
    assert found.shared_files == {"/net/n.gguf"}


def test_a_node_that_ray_has_lost_is_not_alive() -> None:
    found = fact(held=Holdings({}, set(), {FIRST, SECOND}))
    assert (found.alive, found.free_slots) == (False, 0)


@pytest.mark.parametrize(
    ("options", "endpoints"),
    [
        (RouterOptions(), {FIRST, SECOND}),
        (RouterOptions(enable_distributed=False), set()),
        (RouterOptions(backends=frozenset({SECOND, "10.0.0.9:50052"})), {SECOND}),
    ],
)
def test_a_router_uses_the_servers_that_it_may(options: RouterOptions, endpoints: set[str]) -> None:
    assert {each.endpoint for each in fact(options=options).devices} == endpoints


def test_servers_that_failed_are_shut_or_have_no_resource_are_left_out() -> None:
    assert [each.endpoint for each in fact(avoided=Avoided(endpoints={FIRST})).devices] == [SECOND]
    assert [each.endpoint for each in fact(Known(a_report(), 1.0, shut=frozenset({SECOND}))).devices] == [FIRST]
    # Nobody could lease it.
    assert [each.endpoint for each in fact(held=replace(HELD, offered={SECOND})).devices] == [SECOND]


def test_a_node_that_just_failed_or_is_not_the_one_that_is_wanted_is_no_coordinator() -> None:
    assert not fact(avoided=Avoided(nodes={"a"})).breaker_closed
    assert not fact(Known(a_report(), 1.0, closed=False)).breaker_closed
    assert not fact(options=RouterOptions(here="id-b")).may_coordinate
    assert fact(options=RouterOptions(here="id-a")).may_coordinate


def test_a_model_is_found_where_all_agree_on_it() -> None:
    other = Known(replace(a_report(), name="b"), 1.0)
    assert find_model([Known(a_report(), 1.0), other], "m").path == "/models/m.gguf"
    with pytest.raises(ModelUnknown, match=r"'x', there are 'm', 'n'"):
        find_model([other], "x")
    with pytest.raises(ModelUnknown, match="nor any other"):
        find_model([], "x")


def test_a_model_that_differs_or_cannot_be_planned_is_unfit() -> None:
    elsewhere = (replace(MODELS[0], path="/elsewhere/m.gguf"),)
    with pytest.raises(ModelUnfit, match=r"/models/m.gguf on a, /elsewhere/m.gguf on b"):
        find_model([Known(a_report(), 1.0), Known(replace(a_report(), name="b", models=elsewhere), 1.0)], "m")
    unfit = (ModelReport("m", "/models/m.gguf", unfit="it has experts"),)
    with pytest.raises(ModelUnfit, match=r"/models/m.gguf on a: it has experts"):
        find_model([Known(replace(a_report(), models=unfit), 1.0)], "m")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"policy": "best"}, "policy 'best'"),
        ({"num_pools": 0}, "num_pools is 0"),
        ({"coordinator_base_port": 70000}, "coordinator_base_port is 70000"),
        ({"load_seconds": 0.0}, "load_seconds is 0"),
    ],
)
def test_options_that_say_nothing_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RouterOptions(**wrong)  # type: ignore[arg-type]
