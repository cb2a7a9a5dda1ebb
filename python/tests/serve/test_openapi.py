"""What the services say of themselves holds: requests made from their OpenAPI, and answers held against it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from served import Served

from cognitive_actors.serve.config import SERVICES

PROGRAM = Path(sys.executable).parent / "schemathesis"
EXAMPLES = 30


#: Operations of each service.
OPERATIONS = {"cognitive": 6, "ml": 10, "energy": 5}


def test_every_service_is_looked_at() -> None:
    assert set(OPERATIONS) == set(SERVICES)


@pytest.mark.skipif(not PROGRAM.exists(), reason="no schemathesis: pip install schemathesis")
@pytest.mark.parametrize(("service", "operations"), OPERATIONS.items())
def test_every_operation_is_as_it_is_described(served: Served, service: str, operations: int) -> None:
    options = [f"--max-examples={EXAMPLES}", "--generation-deterministic", "--no-color"]
    # An observation in which nothing was seen is no stimulus: that filters much.
    options.append("--suppress-health-check=filter_too_much")
    token = f"--header=Authorization: {served.client.headers['Authorization']}"
    described = f"{served.client.base_url}/{service}/openapi.json"
    checked = subprocess.run([PROGRAM, "run", *options, token, described], capture_output=True, text=True, timeout=300)
    assert checked.returncode == 0, checked.stdout[-6000:]
    assert f"{operations} selected / {operations} total" in checked.stdout, checked.stdout
