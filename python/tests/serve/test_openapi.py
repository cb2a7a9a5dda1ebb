"""What the services say of themselves holds: requests made from their OpenAPI, and answers held against it."""

from __future__ import annotations

from pathlib import Path

import pytest
from described import check_described
from served import Served

from cognitive_actors.serve.config import SERVICES, prefix

#: Beside what is usual: a version that is not there, and a condition that does not hold.
ACCEPTED = ("2xx", "401", "403", "404", "409", "410", "412")
#: Of each service: what is left out, and how many operations are looked at.
LOOKED_AT = {
    # What it is for, people see: the page and its events are not described.
    "page": ((), "3 selected / 3 total"),
    "cognitive": ((), "7 selected / 7 total"),
    # Without agents everything else would be 503.
    "organism": (("--exclude-path=/shutdown",), "8 selected / 9 total"),
    "pipeline": ((), "7 selected / 7 total"),
    "state": ((), "8 selected / 8 total"),
    "ml": ((), "10 selected / 10 total"),
    "energy": ((), "5 selected / 5 total"),
}


def test_every_service_is_looked_at() -> None:
    assert set(LOOKED_AT) == set(SERVICES)


@pytest.mark.parametrize("service", LOOKED_AT)
def test_every_operation_is_as_it_is_described(served: Served, tmp_path: Path, service: str) -> None:
    left_out, selected = LOOKED_AT[service]
    # An observation in which nothing was seen is no stimulus: that filters much.
    options = (*left_out, "--suppress-health-check=filter_too_much")
    check_described(served, prefix(service), selected, ACCEPTED, tmp_path, *options)
