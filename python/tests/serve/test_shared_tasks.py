"""Where the services' tasks may be: only where all replicas find the same ones."""

from __future__ import annotations

import pytest

from cognitive_actors.dispatch.ledger import TASKS
from cognitive_actors.serve.tasks import place_of_tasks


@pytest.mark.parametrize("place", ["/var/lib/tasks.db", "sqlite:////var/lib/tasks.db", "postgresql://u:p@host/tasks"])
def test_places_that_all_replicas_share(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.delenv(TASKS, raising=False)
    assert place_of_tasks(None) is None and place_of_tasks(place) == place
    monkeypatch.setenv(TASKS, place)
    assert place_of_tasks(None) == place and place_of_tasks("/elsewhere") == "/elsewhere"


@pytest.mark.parametrize(
    "place", ["tasks.db", "./tasks.db", "sqlite:///tasks.db", "sqlite://", "mysql://u:secret@host/x"]
)
def test_places_that_each_process_would_take_for_another(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    with pytest.raises(ValueError, match=r"^tasks.* names no place .*; write an absolute path on the head") as raised:
        place_of_tasks(place)
    assert "secret" not in str(raised.value)
    monkeypatch.setenv(TASKS, place)
    with pytest.raises(ValueError, match=f"^{TASKS}.* names no place"):
        place_of_tasks(None)
