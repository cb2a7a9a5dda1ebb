"""The planner: the worked examples, what may never be in a plan, and what may never depend on what."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import permutations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placed import BUILD, FILE, node, seventy, three, with_ram

from cognitive_actors.placement.capacity import GIB, MIB, device_cap, more_ram, ram_cap, tables
from cognitive_actors.placement.facts import Device, Node
from cognitive_actors.placement.model_sizes import ModelSizes
from cognitive_actors.placement.planner import plan
from cognitive_actors.placement.plans import DoesNotFit, Plan
from cognitive_actors.placement.policies import billions
from cognitive_actors.placement.servers import MOST_SERVERS

HEAD, LARGE, SMALL = "192.168.1.10", "192.168.1.20", "192.168.1.21"


def planned(nodes: list[Node], model: ModelSizes, policy: str = "exact", context: int = 8192, compute: int = 0) -> Plan:
    return plan(nodes, model, context, policy, file=FILE, port=18080, compute=compute)


def units(made: Plan) -> dict[str, int]:
    """Units by node, those of the coordinator's CPU included."""
    found = {made.coordinator: made.split.kept}
    for share in made.split.shares:
        found[share.node] = found.get(share.node, 0) + share.units
    return found


def without_large() -> list[Node]:
    head, large, small = three()
    return [head, replace(large, alive=False), small]


# What the guide and the measurements say.


def test_the_scores_of_the_guide() -> None:
    made = planned(three(), seventy(16), "total-memory")
    assert {x.node: x.score for x in made.ranking} == {HEAD: -127360, LARGE: 13640, SMALL: -111360}
    assert made.coordinator == LARGE and [x.feasible for x in made.ranking] == [True, False, False]
    assert made.ranking[0].parts == (128000, 24000, -143360, 5000)


def test_at_16_bits_the_large_node_needs_another_for_one_unit() -> None:
    made = planned(three(), seventy(16))
    assert made.coordinator == LARGE and units(made) == {LARGE: 80, SMALL: 1}
    assert " ".join(made.arguments) == (
        f"-m {FILE} --host 127.0.0.1 --port 18080 -c 8192 -np 1 --metrics --offline"
        f" --rpc {SMALL}:50053,{LARGE}:50052 -ngl 14 -ts 1,13 --fit off"
    )


def test_at_4_5_bits_the_large_node_needs_nobody() -> None:
    made = planned(three(), seventy(4.5))
    assert made.coordinator == LARGE and units(made) == {LARGE: 81}
    assert made.ranking[0].why == ("all 81 units stay on it",)


def test_at_4_5_bits_without_the_large_node_the_small_ones_do_it_together() -> None:
    made = planned(without_large(), seventy(4.5))
    assert made.coordinator == SMALL and units(made) == {SMALL: 56, HEAD: 25}
    assert {x.node: x.feasible for x in made.ranking} == {SMALL: True, HEAD: True, LARGE: False}


def test_at_16_bits_without_the_large_node_nothing_fits() -> None:
    with pytest.raises(DoesNotFit) as caught:
        planned(without_large(), seventy(16))
    assert caught.value.shortfalls[LARGE] is None
    short = {name: x for name, x in caught.value.shortfalls.items() if x is not None}
    assert short[HEAD] * MIB / 1e9 == pytest.approx(97, abs=0.5) and short[SMALL] > short[HEAD]
    text = str(caught.value)
    assert f"{HEAD}: it lacks {short[HEAD]} MiB" in text and f"{SMALL}: it lacks {short[SMALL]} MiB" in text
    assert f"{LARGE}: the node is not alive" in text
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == text and again.ranking == caught.value.ranking


def test_the_caps() -> None:
    small, large = node("a", 4096, 4096), node("b", 64000, 40000)
    assert ram_cap(small) == 3 * GIB and ram_cap(large) == 57600 * MIB
    assert device_cap(small, small.devices[0], 0) == (4096 - 512) * MIB
    assert device_cap(large, large.devices[0], 7) == 38000 * MIB - 7
    # Of an RPC server on the CPU, what its node has left counts.
    busy = replace(large, available=9000 * MIB)
    assert device_cap(busy, busy.devices[1], 0) == (9000 - 3200) * MIB
    for cap in (1, GIB, 60 * GIB, 90 * GIB):
        assert cap <= ram_cap(with_ram(large, more_ram(large, cap))) <= max(cap + 2, ram_cap(large))


def test_the_score_of_exact() -> None:
    here = node("a", 200000, busy=0.5, recent_failures=2)
    there = replace(here, name="b", files=frozenset(), shared_files=frozenset({FILE}), busy=0.0, devices=())
    there, here = replace(there, recent_failures=0), replace(here, devices=())
    made = planned([here, there], seventy(4.5))
    one, other = made.ranking
    assert one.node == "b" and one.score is not None and other.score is not None
    taken = tables(seventy(4.5), 8192, 0)
    headroom = 200 * (1 - (taken.host + taken.everything) / (180000 * MIB))
    assert one.parts == pytest.approx((400, 0, headroom, 0, 0))
    assert other.parts == pytest.approx((400, 300, headroom, -150, -400))
    assert str(other).endswith(
        f"score {other.score:.0f} = +400 local +300 file +{headroom:.0f} headroom -150 busy -400 failures"
    )


def test_ties_go_by_name() -> None:
    nodes = [node(name, 200000) for name in ("c", "a", "b")]
    assert [x.node for x in planned(nodes, seventy(4.5)).ranking] == ["a", "b", "c"]


# What keeps a node, or a server, out.


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"alive": False}, "the node is not alive"),
        ({"age": 30.1}, "the node's report is stale, 30.1 s old where 30 s is the most"),
        ({"age": float("nan")}, "the node's report is stale"),
        ({"breaker_closed": False}, "the node's breaker is open"),
        ({"free_slots": 0}, "it has no free slot for a coordinator"),
        ({"files": frozenset()}, f"it does not reach the model's file {FILE}"),
    ],
)  # fmt: skip
def test_a_node_that_cannot_be_it_says_why(changes: dict[str, Any], said: str) -> None:
    large, small = node("large", 200000, 24000), node("small", 60000)
    made = planned([replace(large, **changes), small], seventy(4.5))
    assert made.coordinator == "small" and said in made.ranking[1].why[0]
    with pytest.raises(DoesNotFit, match=said.split(",")[0]) as caught:
        planned([replace(large, **changes)], seventy(4.5))
    assert caught.value.shortfalls == {"large": None}


@pytest.mark.parametrize(
    ("of_device", "of_node", "said"),
    [
        ({"leased": True}, {}, "it is leased, and a server takes one client"),
        ({"build": "b1"}, {}, "it is of build b1, and no node's llama-server is"),
        ({}, {"age": 31.0}, "the node's report is stale, 31.0 s old"),
        ({}, {"alive": False}, "the node is not alive"),
        ({}, {"breaker_closed": False}, "the node's breaker is open"),
    ],
)  # fmt: skip
def test_a_server_that_cannot_be_used_says_why(of_device: dict[str, Any], of_node: dict[str, Any], said: str) -> None:
    helper = node("helper", 60000, files=frozenset(), **of_node)
    helper = replace(helper, devices=(replace(helper.devices[0], **of_device),))
    with pytest.raises(DoesNotFit) as caught:
        planned([node("small", 20000), helper], seventy(4.5))
    assert [x.endpoint for x in caught.value.left_out] == ["helper:50053"]
    assert said in caught.value.left_out[0].why and said in str(caught.value)


def test_a_server_of_another_build_than_the_coordinators() -> None:
    one, other = node("one", 20000), node("other", 60000, build="b1")
    other = replace(other, devices=(replace(other.devices[0], build="b1"),), files=frozenset())
    with pytest.raises(DoesNotFit, match=f"servers of another build than its own, {BUILD}: 1"):
        planned([one, other], seventy(4.5))
    # Nor is a device used that is of another build than its own node's llama-server.
    lone = node("lone", 60000, 24000)
    strange = replace(lone, devices=(replace(lone.devices[0], build="b1"),))
    assert planned([strange, other], seventy(4.5)).split.shares == ()


def test_fifteen_servers_and_no_more() -> None:
    # 34 layers on its CPU and two units on each server.
    alone = node("a", 20000, server=False)
    nodes = [alone, *(node(f"helper-{i:02d}", 1600, files=frozenset()) for i in range(30))]
    model = seventy(4.5)
    assert len(planned(nodes, replace(model, blocks=model.blocks[:63])).split.shares) == MOST_SERVERS
    with pytest.raises(DoesNotFit, match="without more RAM it would need more than 15 servers"):
        planned(nodes, replace(model, blocks=model.blocks[:64]))


def test_many_devices_here_give_way_to_a_server_elsewhere() -> None:
    devices = tuple(Device(f"gpu{i}", 1100 * MIB, 1100 * MIB, f"a:{i}", BUILD) for i in range(20))
    many = replace(node("a", 20000), devices=devices)
    made = planned([many, node("b", 30000, files=frozenset())], seventy(4.5))
    assert len(made.split.shares) == MOST_SERVERS and units(made)["b"] > 0


def test_an_output_unit_that_fits_nowhere_here() -> None:
    """All layers stay, on a device that is too small for the output unit and on the CPU, and that unit alone goes."""
    model = ModelSizes("m:1b", "llama", (300 * MIB,) * 10, 3000 * MIB, 0, 8, 128, 128, 8192)
    made = planned([node("a", 5400, 1500, server=False), node("b", 4000, files=frozenset())], model)
    assert made.coordinator == "a" and units(made) == {"a": 10, "b": 1}
    assert [share.units for share in made.split.shares] == [2, 1] and made.split.shares[-1].node == "b"


# What is asked for wrongly.


def test_what_is_refused() -> None:
    nodes, model = three(), seventy(4.5)
    refused: list[tuple[dict[str, Any], str]] = [
        ({"context": 8193}, "write 1 to 8192"), ({"context": 0}, "write 1 to 8192"),
        ({"policy": "best"}, "write one of exact, total-memory"), ({"compute": -1}, "write 0 or more"),
    ]  # fmt: skip
    for wrong, said in refused:
        with pytest.raises(ValueError, match=said):
            planned(nodes, model, **wrong)
    with pytest.raises(ValueError, match=f"more than one node is called '{HEAD}'"):
        planned([*nodes, nodes[0]], model)
    with pytest.raises(ValueError, match=f"devices of {HEAD} and x have the endpoint"):
        planned([*nodes, replace(nodes[0], name="x")], model)
    with pytest.raises(DoesNotFit, match="there is none"):
        planned([], model)
    with pytest.raises(ValueError, match="two devices of its RAM"):
        replace(nodes[0], devices=(nodes[0].devices[0],) * 2)
    change: dict[str, Any]
    for change in ({"available": -1}, {"available": 2**60}, {"busy": 1.1}, {"recent_failures": -1}):
        with pytest.raises(ValueError, match="write"):
            replace(nodes[0], **change)
    for change in ({"free": -1}, {"free": 2**60}, {"endpoint": "a:1,b:2"}):
        with pytest.raises(ValueError, match="write"):
            replace(nodes[0].devices[0], **change)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("llama3.1:70b", 70), ("Llama-2-70B-chat", 70), ("qwen2.5-0.5b-instruct", 0.5), ("phi-3.8B.gguf", 3.8)],
)
def test_the_size_in_a_name(name: str, expected: float) -> None:
    assert billions(name) == expected


@pytest.mark.parametrize("name", ["llama", "mixtral-8x7b", "tiny-b", "7b-from-70b", "a70bc"])
def test_a_name_without_one_size(name: str) -> None:
    with pytest.raises(ValueError, match="does not say one size"):
        billions(name)


# What holds of every plan.

SMALLEST = st.integers(0, 6000)


@st.composite
def models(draw: st.DrawFn) -> ModelSizes:
    sizes = draw(st.lists(st.integers(0, 900), min_size=1, max_size=12))
    blocks = tuple(size * MIB for size in sizes)
    output, host = draw(st.integers(0, 1500)), draw(st.integers(0, 1500))
    return ModelSizes("m:1b", "llama", blocks, output * MIB, host * MIB, 8, 128, 128, 8192)


@st.composite
def clusters(draw: st.DrawFn) -> list[Node]:
    found = []
    for i in range(draw(st.integers(1, 6))):
        name = f"n{i}"
        devices = []
        for j in range(draw(st.sampled_from([0, 0, 1, 1, 2, 18]))):
            total = draw(SMALLEST) * MIB
            free = draw(st.integers(0, total))
            build = draw(st.sampled_from([BUILD] * 5 + ["b1"]))
            leased = draw(st.sampled_from([False] * 5 + [True]))
            devices.append(Device(f"d{j}", total, free, f"{name}:{j}", build, leased))
        ram = draw(st.integers(1000, 9000)) * MIB
        available = draw(st.integers(ram // 2, ram))
        if draw(st.booleans()):
            devices.append(Device("cpu", ram, available, f"{name}:ram", BUILD, of_ram=True))
        files = draw(st.sampled_from([frozenset({FILE}), frozenset({FILE}), frozenset()]))
        age = draw(st.sampled_from([0.0, 0.0, 0.0, 31.0]))
        build = draw(st.sampled_from([BUILD] * 5 + ["b1"]))
        busy = draw(st.sampled_from([0.0, 0.5]))
        found.append(Node(name, name, build, ram, available, tuple(devices), files, age=age, busy=busy))
    return found


POLICY = st.sampled_from(["exact", "total-memory"])
COMPUTE = st.sampled_from([0, 100 * MIB])
thorough = settings(max_examples=150)


def tried(nodes: list[Node], model: ModelSizes, policy: str = "exact", compute: int = 0) -> Plan | DoesNotFit:
    try:
        return planned(nodes, model, policy, 4096, compute)
    except DoesNotFit as error:
        return error


@thorough
@given(clusters(), models(), POLICY, COMPUTE)
def test_a_split_sums_to_the_units_and_fits_every_cap(
    nodes: list[Node], model: ModelSizes, policy: str, compute: int
) -> None:
    made = tried(nodes, model, policy, compute)
    if isinstance(made, DoesNotFit):
        return
    by_name = {x.name: x for x in nodes}
    split, cache, begin = made.split, model.cache(4096), made.split.kept
    assert split.kept + sum(share.units for share in split.shares) == model.units
    sizes = [block + cache for block in model.blocks] + [model.output]
    for share in split.shares:
        owner = by_name[share.node]
        device = next(x for x in owner.devices if x.endpoint == share.endpoint)
        assert share.units > 0 and share.size == sum(sizes[begin : begin + share.units])
        assert share.size <= share.cap == device_cap(owner, device, compute)
        begin += share.units
    own = by_name[made.coordinator]
    needed = model.host + 256 * MIB + -(-compute // 4) + sum(sizes[: split.kept])
    assert needed == split.host <= split.cap == ram_cap(own)
    assert len(split.shares) <= MOST_SERVERS


@thorough
@given(clusters(), models(), POLICY)
def test_no_plan_uses_what_cannot_be_used(nodes: list[Node], model: ModelSizes, policy: str) -> None:
    made = tried(nodes, model, policy)
    if isinstance(made, DoesNotFit):
        return
    by_name = {x.name: x for x in nodes}
    own = by_name[made.coordinator]
    assert own.age <= 30 and FILE in own.files
    for share in made.split.shares:
        device = next(x for x in by_name[share.node].devices if x.endpoint == share.endpoint)
        assert not device.leased and device.build == own.build and by_name[share.node].age <= 30
        # Its own RAM is what its CPU's layers are in.
        assert not (device.of_ram and share.node == own.name)
    assert not {x.endpoint for x in made.left_out} & {x.endpoint for x in made.split.shares}


@thorough
@given(clusters(), models())
def test_the_ranking_says_of_the_first_what_its_split_is(nodes: list[Node], model: ModelSizes) -> None:
    made = tried(nodes, model)
    if isinstance(made, DoesNotFit):
        return
    away = [share for share in made.split.shares if share.node != made.coordinator]
    here = model.units - sum(share.units for share in away)
    expected = f"{here} of {model.units} units stay on it, servers elsewhere: {len(away)}"
    assert made.ranking[0].why == (expected if away else f"all {model.units} units stay on it",)
    score = made.ranking[0].parts
    assert score is not None and score[0] == 400 * here / model.units
    assert score[2] == pytest.approx(200 * (1 - made.split.host / made.split.cap))


@thorough
@given(clusters(), models(), st.data())
def test_more_memory_is_never_too_much(nodes: list[Node], model: ModelSizes, data: st.DataObject) -> None:
    before = tried(nodes, model)
    i, more = data.draw(st.integers(0, len(nodes) - 1)), data.draw(st.integers(1, 3000)) * MIB
    grown = with_ram(nodes[i], more)
    if data.draw(st.booleans()) and grown.devices:
        j = data.draw(st.integers(0, len(grown.devices) - 1))
        larger = replace(grown.devices[j], total=grown.devices[j].total + more, free=grown.devices[j].free + more)
        grown = replace(grown, devices=(*grown.devices[:j], larger, *grown.devices[j + 1 :]))
    after = tried([*nodes[:i], grown, *nodes[i + 1 :]], model)
    feasible = [{x.node for x in made.ranking if x.feasible} for made in (before, after)]
    assert feasible[0] <= feasible[1]


@thorough
@given(clusters(), models(), POLICY, st.randoms())
def test_the_order_of_the_nodes_does_not_matter(
    nodes: list[Node], model: ModelSizes, policy: str, random: Random
) -> None:
    other = [replace(x, devices=x.devices[::-1]) for x in nodes]
    random.shuffle(other)
    one, two = tried(nodes, model, policy), tried(other, model, policy)
    assert one == two if isinstance(one, Plan) else str(one) == str(two)


@thorough
@given(clusters(), models(), POLICY)
def test_what_is_said_to_be_missing_is_enough(nodes: list[Node], model: ModelSizes, policy: str) -> None:
    made = tried(nodes, model, policy)
    for i, old in enumerate(nodes):
        ranked = next(x for x in made.ranking if x.node == old.name)
        if ranked.more_ram is None or ranked.shortfall is None:
            continue
        assert ranked.shortfall > 0 and ranked.more_ram > 0

        def feasible(more: int, i: int = i, old: Node = old) -> bool:
            again = tried([*nodes[:i], with_ram(old, more), *nodes[i + 1 :]], model, policy)
            return next(x.feasible for x in again.ranking if x.node == old.name)

        assert feasible(ranked.more_ram)
        # And hardly more than that.
        assert not feasible(ranked.more_ram - MIB) or policy == "total-memory"


@thorough
@given(clusters(), models(), st.integers(0, 900))
def test_of_layers_of_one_size_nothing_is_refused_that_fits(nodes: list[Node], model: ModelSizes, size: int) -> None:
    """Beside every order of every choice of servers, filled one after the other; and none needs fewer elsewhere."""
    even = replace(model, blocks=(size * MIB,) * len(model.blocks))
    few = [replace(x, devices=x.devices[:1]) for x in nodes[:4]]
    made = tried(few, even)
    for own in few:
        ranked = next(x for x in made.ranking if x.node == own.name)
        if ranked.feasible or ranked.shortfall is not None:
            needed = fewest_elsewhere(own, few, even)
            assert ranked.feasible == (needed is not None)
            if needed:
                assert ranked.why[0].endswith(f"servers elsewhere: {needed}")


def fewest_elsewhere(own: Node, nodes: list[Node], model: ModelSizes) -> int | None:
    """By trying everything: how many servers elsewhere the node needs; None if it cannot hold the model."""
    sizes = [block + model.cache(4096) for block in model.blocks] + [model.output]
    room, kept = ram_cap(own) - model.host - 256 * MIB, 0
    if room < 0:
        return None
    while kept < model.units and sum(sizes[: kept + 1]) <= room:
        kept += 1
    usable = [
        (owner.name, device_cap(owner, device, 0))
        for owner in nodes
        for device in owner.devices
        if owner.age <= 30 and device.build == own.build and not device.leased
        and not (device.of_ram and owner is own)
    ]  # fmt: skip
    found = [0] if kept == model.units else []
    for n in range(1, len(usable) + 1):
        for order in permutations(usable, n):
            begin = min(kept, model.units - 1)
            for _, cap in order:
                while begin < model.units and (cap := cap - sizes[begin]) >= 0:
                    begin += 1
            if begin == model.units:
                found.append(sum(name != own.name for name, _ in order))
    return min(found, default=None)


@thorough
@given(clusters(), models())
def test_no_fewer_servers_elsewhere_would_do(nodes: list[Node], model: ModelSizes) -> None:
    made = tried(nodes, model)
    if isinstance(made, DoesNotFit):
        return
    # Without the smallest of those that it uses elsewhere it fits nowhere, or with another in its place.
    away = {share.node for share in made.split.shares} - {made.coordinator}
    count = sum(share.node != made.coordinator for share in made.split.shares)
    for name in away:
        others = [replace(x, devices=()) if x.name == name else x for x in nodes]
        again = tried(others, model)
        if isinstance(again, Plan) and again.coordinator == made.coordinator:
            assert sum(share.node != again.coordinator for share in again.split.shares) >= count
