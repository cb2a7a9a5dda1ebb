"""Policies of retrying, and what is refused before it reaches a store."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cognitive_actors.dispatch import NewTask, Node, Retries, TaskError, pause
from cognitive_actors.dispatch.content import LARGEST, check_tasks, encode, printable_error
from cognitive_actors.dispatch.graph import check_graph

policies = st.builds(
    Retries,
    attempts=st.integers(1, 1000),
    first=st.floats(0, 1e6),
    factor=st.floats(1, 1e6),
    most=st.floats(0, 1e6),
    jitter=st.floats(0, 1),
)
drawn = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(1, 10_000), drawn)
def test_a_pause_is_between_what_chance_leaves_and_the_most(retries: Retries, attempt: int, u: float) -> None:
    longest = min(retries.most, retries.first * retries.factor ** min(attempt - 1, 40))
    if attempt <= 41:
        assert pause(retries, attempt, u) == pytest.approx(longest * (1 - retries.jitter + retries.jitter * u))
    assert 0 <= pause(retries, attempt, u) <= retries.most
    assert pause(retries, attempt, u) <= pause(retries, attempt + 1, u) * (1 + 1e-12)


def test_pauses_grow_to_the_most_and_are_all_chance_unless_told() -> None:
    retries = Retries(first=1, factor=2, most=10, jitter=0)
    assert [pause(retries, attempt, 0.3) for attempt in (1, 2, 3, 4, 5, 99_999)] == [1, 2, 4, 8, 10, 10]
    assert [pause(Retries(), attempt, 0.0) for attempt in (1, 5)] == [0, 0]
    assert pause(Retries(first=4), 1, 0.25) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attempts": 0}, "attempts is 0; write a whole number, 1 or more"),
        ({"attempts": True}, "attempts is True"),
        ({"first": -1}, "first is -1; write a finite number, 0 or more"),
        ({"factor": 0.5}, "factor is 0.5; write a finite number, 1 or more"),
        ({"most": math.inf}, "most is inf"),
        ({"first": math.nan}, "first is nan"),
        ({"jitter": 1.5}, "jitter is 1.5; write a number between 0 and 1"),
    ],
)
def test_retries_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Retries(**options)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (NewTask("x", math.nan), r"the payload of task 0 \(x\) is no JSON .*; write text, finite numbers"),
        (NewTask("x", {"a": {1, 2}}), "is no JSON"),
        (NewTask("x", (1, 2)), "would come back changed from JSON; write lists for tuples"),
        (NewTask("x", {1: "a"}), "would come back changed"),
        (NewTask("x", "a" * LARGEST), f"takes {LARGEST + 2} bytes as JSON, of {LARGEST} at most; write it to a file"),
        (NewTask(""), "the kind of task 0 is ''; write a text of 1 to 200 printable characters"),
        (NewTask("x", key="a\0b"), "key of task 0 "),
        (NewTask("x", key="\ud800"), "key of task 0 "),
        (NewTask("x", key="a" * 201), "key of task 0 "),
        (NewTask("x", delay=-1), "delay is -1; write seconds, 0 or more"),
        (NewTask("x", delay=math.nan), "delay is nan"),
        (NewTask("x", priority=2**40), "priority is 1099511627776; write a whole number"),
        (NewTask("x", after="abc"), "after is a text; write a tuple of ids"),  # type: ignore[arg-type]
        (NewTask("x", on_failure="stop"), "on_failure is 'stop'; write one of fail, skip"),  # type: ignore[arg-type]
        (NewTask("x", retries=3), r"retries is 3; write Retries\(attempts"),  # type: ignore[arg-type]
        (NewTask("y"), "no handler is known of this kind; write one of x, z"),
        ("x", "task 0 is str; write NewTask"),
    ],
)
def test_what_is_no_task_is_refused(task: Any, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        check_tasks([task], kinds=["z", "x"])


def test_the_largest_payload_is_taken_and_any_kind_unless_told() -> None:
    assert len(check_tasks([NewTask("any", "a" * (LARGEST - 2))], None)[0][1]) == LARGEST


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_what_is_encoded_can_be_stored_anywhere(value: Any) -> None:
    text = encode(value, "x")
    assert "\0" not in text and text.isascii()


def test_errors_are_cut_and_cleaned() -> None:
    assert printable_error(ValueError("a\0\ud800")) == "a\\0\\ud800"
    long = printable_error("a" * 9000 + "b" * 9000)
    assert len(long) < 9000 and long.startswith("aaa") and long.endswith("bbb")


def test_ids_and_circles() -> None:
    a, b = NewTask("x", id="a", after=("c",)), NewTask("x", id="b", after=("a",))
    with pytest.raises(TaskError, match=r"wait for each other: (a after c after b after a|c after b|b after a)"):
        check_tasks([a, b, NewTask("x", id="c", after=("b",))], None)
    with pytest.raises(TaskError, match="id 'a' is that of two tasks"):
        check_tasks([a, a], None)


def test_graphs_that_cannot_run_are_refused_by_name() -> None:
    with pytest.raises(TaskError) as circle:
        check_graph([Node("a", "x", after=("b",)), Node("b", "x", after=("c",)), Node("c", "x", after=("a",))])
    turns = ("'a' after 'b' after 'c'", "'b' after 'c' after 'a'", "'c' after 'a' after 'b'")
    assert any(turn in str(circle.value) for turn in turns)
    for nodes, said in (
        ([Node("a", "x", after=("a",))], "'a' after 'a'"),
        ([Node("a", "x", after=("z",))], "node 'a' is after 'z', which is no node"),
        ([Node("a", "x"), Node("a", "y")], "'a' is the name of several nodes"),
        ([Node("a", "x", after="bc")], "node 'a': after is a text"),  # type: ignore[arg-type]
        ([], "a graph of 0 nodes"),
    ):
        with pytest.raises(TaskError, match=said):
            check_graph(nodes)
    order = [node.name for node in check_graph([Node("b", "x", after=("a",)), Node("a", "x")])]
    assert order == ["a", "b"]
