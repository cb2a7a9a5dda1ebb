"""The task that a bootstrap ends with, where it does not succeed."""

from __future__ import annotations

import pytest

from cognitive_actors.bootstrap.trial import stimulus, tried
from cognitive_actors.bootstrap.waiting import NotUp
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.dispatch import NewTask, Owner, TaskStore


def never() -> None:
    """Nobody works while it is waited."""


def test_what_nobody_does_is_cancelled(store: TaskStore) -> None:
    with pytest.raises(
        NotUp, match=r"of kind 'probe' was not done within 0\.1 s: it was queued, and nobody claimed it"
    ):
        tried(store, "probe", None, 0.1, never)
    assert store.counts()["cancelled"] == 1 and store.counts()["queued"] == 0


def test_what_is_interrupted_is_cancelled(store: TaskStore) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tried(store, "probe", None, 60.0, interrupted)
    assert store.counts()["cancelled"] == 1


def test_what_fails_is_said_as_it_was(store: TaskStore, owner: Owner) -> None:
    def fails() -> None:
        for claim in store.claim(owner, ["probe"], 1, 600):
            store.fail([(claim, "there is no agent")])

    with pytest.raises(NotUp, match=r"of kind 'probe' did not succeed: .* it is dead: there is no agent; see"):
        tried(store, "probe", None, 60.0, fails)


def test_what_is_done_is_read_back_before_what_waits(store: TaskStore, owner: Owner) -> None:
    store.enqueue([NewTask("probe", n) for n in range(3)])

    def works() -> None:
        for claim in store.claim(owner, ["probe"], 1, 600):
            store.complete([(claim, {"had": claim.payload})])

    found = tried(store, "probe", {"a": 1}, 60.0, works)
    assert (found["kind"], found["by"], found["result"]) == ("probe", owner.name, {"had": {"a": 1}})
    assert store.result(found["id"]) == found["result"] and store.counts()["done"] == 1


def test_a_stimulus_fits_the_model_and_is_nobodys(model: GenerativeModel) -> None:
    found = stimulus(model)
    assert found["observation"] == {"weather": model.modalities[0].outcomes[0]}
    assert found["agent"] != stimulus(model)["agent"]
