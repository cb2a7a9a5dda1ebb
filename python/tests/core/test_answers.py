"""What makes a stored state whole: answers by request, descriptions of models, stages as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cognitive_actors.core.answers import Answers
from cognitive_actors.core.cycle import CycleSettings
from cognitive_actors.core.description import describe, difference
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.stages import Stage, pack_stages, unpack_stages
from cognitive_actors.core.workspace import WorkspaceState

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)


@given(st.lists(st.tuples(TEXT, TEXT)), st.integers(1, 5))
def test_the_last_requests_are_known(given_: list[tuple[str, str]], kept: int) -> None:
    answers = Answers(kept)
    expected: dict[str, str] = {}
    for request, text in given_:
        if request not in answers:
            answers = answers.having(request, text)
            # One that was forgotten counts as new.
            expected.pop(request, None)
            expected[request] = text
    assert list(answers.texts.items()) == list(expected.items())[-kept:]
    read = Answers(kept).from_arrays(answers.to_arrays())
    assert list(read.texts.items()) == list(answers.texts.items())


def test_large_answers_make_room_and_their_requests_stay_known() -> None:
    answers = Answers(10, room=100)
    for request in "abc":
        answers = answers.having(request, request * 60)
    answers = answers.having("d", "d" * 200)
    for read in (answers, Answers(10).from_arrays(answers.to_arrays())):
        assert read.text("d") == "d" * 200
        for request in "abc":
            assert request in read
            with pytest.raises(LookupError, match=f"request '{request}' has been applied already"):
                read.text(request)
    assert list(Answers(2).from_arrays(answers.to_arrays()).texts) == ["c", "d"]


def test_answers_that_do_not_fit_are_refused() -> None:
    arrays = Answers().having("a", "b").having("c", "d").to_arrays()
    for name in arrays:
        with pytest.raises(ValueError):
            Answers().from_arrays({**arrays, name: arrays[name][:-1]})


@dataclass(frozen=True)
class Inner:
    """Of every kind that is described."""

    rate: float = float("inf")
    name: str | None = None
    x: torch.Tensor | None = None
    parts: tuple[int, ...] = (1, 2)


def test_a_description_changes_with_every_part() -> None:
    one = Inner(x=torch.zeros(2, 3))
    same = describe({"inner": Inner(x=torch.zeros(2, 3)), "on": True})
    before = describe({"inner": one, "on": True})
    assert difference(before, same) is None and before["inner.rate"] == "inf"
    for changes, said in (
        ({"rate": 0.1}, "inner.rate was 'inf' then and is '0.1' now"),
        ({"name": "x"}, "inner.name was None then and is 'x' now"),
        ({"x": torch.zeros(3, 2)}, r"inner.x was 'torch.float32 (2, 3)"),
        ({"x": torch.full((2, 3), 1e-30)}, "inner.x was"),
        ({"x": torch.zeros(2, 3, dtype=torch.float64)}, "inner.x was"),
        ({"parts": (1,)}, "inner.parts.length was 2 then and is 1 now"),
    ):
        found = difference(before, describe({"inner": replace(one, **changes), "on": True}))
        assert found is not None and found.startswith(said)
    assert difference(before, describe({"inner": one})) == "on was True then and is unknown now"
    with pytest.raises(TypeError, match="inner is a object, which has no description"):
        describe({"inner": object()})


def test_models_and_settings_have_descriptions(model: GenerativeModel) -> None:
    before = describe({"model": model, "settings": CycleSettings()})
    changed = replace(model, A=(model.A[0].clone(), *model.A[1:]))
    changed.A[0].view(-1)[0] += 1e-6
    assert difference(before, describe({"model": changed, "settings": CycleSettings()})) is not None
    assert difference(before, describe({"model": model, "settings": CycleSettings(seed=1)})) == (
        "settings.seed was 0 then and is 1 now"
    )


@given(st.dictionaries(st.integers(0, 9), st.lists(TEXT, unique=True, max_size=4)), st.integers(0, 2**32 - 1))
def test_stages_come_back_as_they_were(names: dict[int, list[str]], seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    stages = {}
    for agent, words in names.items():
        x = torch.rand(3, 1, len(words), generator=draw, dtype=torch.float64)
        clock = torch.tensor([float(x.sum())], dtype=torch.float64)
        state = WorkspaceState(x[0], x[1] > 0.5, x[2], torch.full_like(clock, -torch.inf), clock)
        stages[agent] = Stage(words, state)
    arrays = pack_stages(stages)
    read = unpack_stages(arrays)
    assert {agent: stage.names for agent, stage in read.items()} == names and list(read) == list(stages)
    for agent, stage in stages.items():
        for field in ("habituation", "active", "strength", "last_ignition", "time"):
            one, other = getattr(stage.state, field), getattr(read[agent].state, field)
            assert one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    again = pack_stages(read)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


def test_stages_that_do_not_fit_are_refused() -> None:
    state = WorkspaceState(*(torch.zeros(1, 2), torch.zeros(1, 2).bool()), *(torch.zeros(n) for n in ((1, 2), 1, 1)))
    double = WorkspaceState(*(x if x.dtype == torch.bool else x.double() for x in vars(state).values()))
    arrays = pack_stages({3: Stage(["a", "b"], double)})
    unpack_stages(arrays)
    for name in arrays:
        with pytest.raises(ValueError):
            unpack_stages({**arrays, name: np.concatenate([arrays[name], arrays[name][:1]])})
    with pytest.raises(ValueError, match="array 'time' is float32"):
        unpack_stages({**arrays, "time": arrays["time"].astype(np.float32)})
