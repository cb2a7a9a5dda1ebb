"""What is seen of a roster, against its agents one by one."""

from __future__ import annotations

import numpy as np
import pytest

from cognitive_actors.core.cycle import CognitiveCycle, CycleSettings
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.roster import Chunk, Roster
from cognitive_actors.core.views import agent_view, summary


def test_the_summary_is_that_of_the_agents(model: GenerativeModel) -> None:
    random = np.random.default_rng(7)
    agents, roster = [f"a{i}" for i in range(60)], Roster(CognitiveCycle(model, CycleSettings()))
    for time in range(3):
        observations = np.stack([random.integers(-1, len(m.outcomes), size=60) for m in model.modalities], axis=1)
        observations[:, 0] = np.maximum(observations[:, 0], 0)
        delta = random.normal(scale=0.4, size=(60, 5))
        roster.process(Chunk(agents, np.full(60, 1.5 * time), observations, delta))
    found, views = summary(roster), [agent_view(roster, name) for name in agents]
    assert (found["agents"], found["steps"]) == (60, 180)
    for modulator, level in found["modulators"].items():
        levels = [view["modulators"][modulator] for view in views]
        assert level == pytest.approx({"mean": np.mean(levels), "spread": np.std(levels)})
    assert [content["modality"] for content in found["workspace"]] == [m.name for m in model.modalities]
    shares = set()
    for content in found["workspace"]:
        held = [
            each["salience"] for view in views for each in view["workspace"] if each["modality"] == content["modality"]
        ]
        assert content["share"] == pytest.approx(len(held) / 60)
        assert content["salience"] == (pytest.approx(np.mean(held)) if held else None)
        shares.add(content["share"])
    # It is no matter of all or nothing, or this test would see little.
    assert any(0 < share < 1 for share in shares), shares


def test_of_no_agent_nothing_is_said(model: GenerativeModel) -> None:
    assert summary(Roster(CognitiveCycle(model, CycleSettings()))) == {
        "agents": 0,
        "steps": 0,
        "modulators": None,
        "workspace": None,
    }
