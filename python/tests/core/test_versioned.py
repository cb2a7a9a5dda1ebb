"""Keys, values and their versions."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from cognitive_actors.core.versioned import Entry, Versioned


def test_since_says_how_one_version_became_another() -> None:
    """Whatever happens: who keeps a copy up to date by what is new has what is there, or is told to begin again."""
    chance = random.Random(5)
    state = Versioned("e", 0.0, kept=3)
    copies: dict[int, dict[str, str]] = {0: {}}
    told, gone = 0, 0
    for now in range(60):
        texts = {chance.choice("abcdefgh"): str(now) for _ in range(chance.randrange(3))}
        state = state.applied(texts, [key for key in "abcdefgh" if key not in texts and chance.random() < 0.2], now)
        whole = {key: entry.text for key, entry in state.entries.items()}
        for version, copy in copies.items():
            try:
                new, deleted = state.since(version)
            except LookupError:
                gone += 1
                continue
            told += 1
            kept = {key: text for key, text in copy.items() if key not in deleted}
            assert kept | {key: entry.text for key, entry in new.items()} == whole
        copies[state.version] = whole
        assert Versioned.from_arrays(state.to_arrays()) == replace(state, kept=1024)
    assert told > 100 and gone > 100


def test_nothing_to_change_is_no_version() -> None:
    state = Versioned("e", 0.0).applied({"a": "1"}, [], 5.0)
    assert state.applied({}, ["z"], 9.0) is state
    assert (state.version, state.changed, state.entries) == (1, 5.0, {"a": Entry("1", 1)})


def test_a_tag_is_of_one_version() -> None:
    first = Versioned("e", 0.0).applied({"a": "1"}, [], 1.0)
    second = first.applied({"b": "1"}, [], 2.0)
    assert (first.tag(), second.tag(), second.tag("a"), second.tag("b")) == ("e.1", "e.2", "e.1", "e.2")
    again = second.applied({}, ["a"], 3.0)
    assert again.tag("a") is None and again.applied({"a": "1"}, [], 4.0).tag("a") == "e.4"


def test_a_version_that_is_not_there_yet() -> None:
    with pytest.raises(LookupError, match="no version 1 yet"):
        Versioned("e", 0.0).since(1)


@pytest.mark.parametrize("name", sorted(Versioned("e", 0.0).to_arrays()))
def test_arrays_that_do_not_fit(name: str) -> None:
    arrays = Versioned("e", 0.0).applied({"a": "1"}, [], 1.0).applied({"b": "1"}, ["a"], 1.0).to_arrays()
    assert Versioned.from_arrays(arrays).version == 2
    del arrays[name]
    with pytest.raises(KeyError):
        Versioned.from_arrays(arrays)


@pytest.mark.parametrize("name", ["versions", "deleted_versions", "counts", "keys.name_lengths"])
def test_arrays_of_another_length(name: str) -> None:
    arrays = Versioned("e", 0.0).applied({"a": "1"}, [], 1.0).to_arrays()
    arrays[name] = np.append(arrays[name], 1)
    with pytest.raises(ValueError):
        Versioned.from_arrays(arrays)
