"""What differs between what is to live and what lives."""

from __future__ import annotations

import pytest

from cognitive_actors.bootstrap.reconcile import Living, Step, Wanted, steps

MADE = {"tasks": "/a.db", "handlers": {"probe": "m:probe"}}
WANTED = [Wanted("dispatcher", f"d-{number}", MADE) for number in range(2)] + [
    Wanted("reaper", "r", {"tasks": "/a.db"})
]
LIVING = [Living(each.kind, each.name, {**each.made, "more": 1}) for each in WANTED]


def test_where_nothing_lives_all_are_started() -> None:
    assert steps(WANTED, []) == [Step(each.kind, each.name, "started", "there was none") for each in WANTED]


def test_where_all_live_they_are_kept() -> None:
    assert steps(WANTED, LIVING[::-1]) == [Step(each.kind, each.name, "kept") for each in WANTED]
    assert steps([], []) == []


def test_those_of_whom_there_are_too_many_are_ended_last() -> None:
    surplus = [Living("dispatcher", "d-7", MADE), Living("dispatcher", "d-2", None)]
    found = steps(WANTED, [*surplus, *LIVING])
    assert [step.action for step in found] == ["kept"] * 3 + ["ended"] * 2
    assert [step.name for step in found[3:]] == ["d-7", "d-2"]
    assert all(step.why == "there are more than are wanted" for step in found[3:])


@pytest.mark.parametrize(
    ("living", "why"),
    [
        (Living("dispatcher", "d-0", None), "it did not answer"),
        (Living("dispatcher", "d-0", MADE, stopping=True), "it had been told to stop"),
        (Living("dispatcher", "d-0", {**MADE, "tasks": "/b.db"}), "it was made for other tasks: /b.db, not /a.db"),
        (Living("dispatcher", "d-0", {**MADE, "tasks": None}), "it was made for other tasks: none, not /a.db"),
        (
            Living("dispatcher", "d-0", {**MADE, "handlers": {"x": "m:x"}}),
            "it was made for other handlers: x by m:x, not probe by m:probe",
        ),
        (Living("dispatcher", "d-0", {"tasks": "/a.db"}), "it was made for other handlers: none, not probe by m:probe"),
    ],
)
def test_one_that_will_not_do_is_replaced(living: Living, why: str) -> None:
    assert steps(WANTED, [living, *LIVING[1:]]) == [
        Step("dispatcher", "d-0", "replaced", why),
        *(Step(each.kind, each.name, "kept") for each in WANTED[1:]),
    ]


def test_of_what_nobody_asks_anything_will_do() -> None:
    assert steps([Wanted("agents", "a")], [Living("agents", "a", {"model": "x"})]) == [Step("agents", "a", "kept")]


def test_what_has_been_done_need_not_be_done_again() -> None:
    living = [Living("dispatcher", "d-0", None), Living("dispatcher", "d-9", MADE)]
    gone = {step.name for step in steps(WANTED, living) if step.action in ("ended", "replaced")}
    made = [each for each in WANTED if each.name in gone or each.name not in {x.name for x in living}]
    after = [x for x in living if x.name not in gone] + [Living(each.kind, each.name, each.made) for each in made]
    assert {step.action for step in steps(WANTED, after)} == {"kept"}
