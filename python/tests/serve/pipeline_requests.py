"""Tasks of ``/pipeline`` as tests send them, and what their routes should be."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

import torch

from cognitive_actors.core.cycle import CognitiveCycle, CycleSettings
from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.core.roster import Chunk, Roster
from cognitive_actors.core.routing import ROUTES, Router
from cognitive_actors.files.jsonl import parse_records

#: What an agent of the umbrella model sees on its first days; all routes come, two of them by hysteresis alone.
DAYS = (
    *({"wind": "breezy"}, {"wind": "calm"}, {"weather": "sun"}, {"wind": "breezy"}, {"weather": "snow"}),
    *({"wind": "breezy"},) * 4,
    *({"temperature": "cold"},) * 3,
)
FINAL = {"done", "failed", "cancelled"}


def new() -> str:
    """A name of this test's own: others live beside it."""
    return f"a/ä {uuid.uuid4().hex[:8]}"


def task(id: str, agent: str, day: float | None = 0, seen: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    stimulus = {"agent": agent, "observation": seen or {"temperature": "cold"}}
    return {"id": id, "stimulus": stimulus if day is None else {**stimulus, "time": day}, **more}


def place(id: str) -> str:
    return f"/tasks/{quote(id, safe='')}"


def ended(found: dict[str, Any]) -> bool:
    return set(found["steps"].values()) <= FINAL


def routed(model: GenerativeModel, days: tuple[dict[str, Any], ...]) -> list[tuple[str, float, str]]:
    """For each day of one agent: the route, the share, and the route that the share would bring from nowhere."""
    roster, router, found = Roster(CognitiveCycle(model, CycleSettings())), Router(), []
    state = router.initial(1)
    for day, seen in enumerate(days):
        batch = parse_records([{"agent": "a", "time": day, "observation": seen}], model)
        columns = roster.process(Chunk(batch.agents, batch.time, batch.observations, batch.delta))
        surprise = torch.tensor(columns["surprise"]).double()
        here, nowhere = router.route(state, surprise), router.route(router.initial(1), surprise)
        state = here.state
        found.append((ROUTES[int(here.route)], float(here.share), ROUTES[int(nowhere.route)]))
    return found
