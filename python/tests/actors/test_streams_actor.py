"""The streams' actor by itself: which streams it keeps, and that a state of others or of more comes to no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from actor_processes import Here, answer

from cognitive_actors.actors.durability import Durability
from cognitive_actors.actors.streams import OtherDimension, StreamParameters, StreamStatisticsActor
from cognitive_actors.core.drift import CusumParameters
from cognitive_actors.files import CheckpointError


def made(streams: int = 2, durability: Durability | None = None, **parameters: Any) -> Any:
    return Here(StreamStatisticsActor, StreamParameters(**parameters), streams, durability)


def seen(actor: Any, stream: str) -> int:
    """How many numbers it has had, with one more."""
    return int(answer(actor.drift.remote(stream, [1.0]))["seen"])


def test_the_least_recently_used_stream_is_forgotten() -> None:
    actor = made(streams=2)
    assert [seen(actor, name) for name in "aabac"] == [1, 2, 1, 3, 1]
    # a was used after b.
    assert seen(actor, "a") == 4
    assert answer(actor.status.remote()) == {"drift": 2, "anomaly": 0, "streams": 2, "forgotten": 1}
    assert seen(actor, "b") == 1


def test_a_stream_that_is_scored_is_used() -> None:
    actor = made(streams=2)
    for name in "ab":
        answer(actor.learn.remote(name, [[1.0, 2.0]]))
    answer(actor.score.remote("a", [[1.0, 2.0]]))
    answer(actor.learn.remote("c", [[1.0]]))
    assert answer(actor.score.remote("a", [[0.0, 0.0]]))["seen"] == 1
    assert answer(actor.score.remote("b", [[0.0]]))["seen"] == 0


def test_to_score_a_stream_that_is_not_known_begins_none() -> None:
    actor = made(streams=1)
    answer(actor.learn.remote("a", [[1.0]]))
    assert answer(actor.score.remote("b", [[1.0, 2.0]]))["features"] == 2
    assert answer(actor.status.remote()) == {"drift": 0, "anomaly": 1, "streams": 1, "forgotten": 0}
    assert answer(actor.score.remote("b", [[1.0]]))["features"] == 1


def test_what_is_refused_changes_nothing() -> None:
    actor = made()
    answer(actor.learn.remote("a", [[1.0, 2.0]]))
    seen(actor, "a")
    with pytest.raises(OtherDimension, match="vector 1 has 1 features, not 2 as those of the stream 'a'"):
        actor.learn.remote("a", [[1.0, 2.0], [1.0]])
    with pytest.raises(ValueError, match="write a finite number"):
        actor.drift.remote("a", [1.0, float("nan")])
    with pytest.raises(ValueError, match="write a finite number"):
        actor.learn.remote("a", [[1.0, float("inf")]])
    assert seen(actor, "a") == 2 and answer(actor.score.remote("a", [[0.0, 0.0]]))["seen"] == 1
    with pytest.raises(ValueError, match="streams is 0; write 1 or more"):
        made(streams=0)


def test_fewer_are_kept_than_were_stored(tmp_path: Path) -> None:
    at = Durability(str(tmp_path / "store"), "streams")
    actor = made(streams=3, durability=at)
    numbers = np.random.default_rng(5).normal(size=(20, 2)).tolist()
    for name, features in (("x", 2), ("y", 1), ("z", 2)):
        seen(actor, name)
        answer(actor.learn.remote(name, [row[:features] for row in numbers]))
    wanted = answer(actor.score.remote("z", numbers))
    fewer = made(streams=2, durability=at)
    assert answer(fewer.status.remote()) == {"drift": 2, "anomaly": 2, "streams": 2, "forgotten": 2}
    assert answer(fewer.score.remote("z", numbers)) == wanted
    assert (
        answer(fewer.score.remote("y", [[0.0]]))["seen"] == 20 and answer(fewer.score.remote("x", [[0.0]]))["seen"] == 0
    )
    assert [seen(fewer, name) for name in "yz"] == [2, 2]


def test_a_state_of_other_parameters_is_refused(tmp_path: Path) -> None:
    at = Durability(str(tmp_path / "store"), "streams")
    seen(made(durability=at), "a")
    with pytest.raises(CheckpointError, match=r"parameters\.recent was 50 then and is 9 now"):
        made(durability=at, recent=9)
    with pytest.raises(CheckpointError, match=r"parameters\.cusum\.h was '5.0' then and is '4.0' now"):
        made(durability=at, cusum=CusumParameters(h=4.0))
