"""What the services say of themselves holds: requests made from their OpenAPI, and answers held against it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from served import Served

from cognitive_actors.serve.config import SERVICES, prefix

PROGRAM = Path(sys.executable).parent / "schemathesis"
EXAMPLES = 30
#: Beside what is usual: a version that is not there, and a condition that does not hold.
CONFIGURATION = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "410", "412"]
"""

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


@pytest.mark.skipif(not PROGRAM.exists(), reason="no schemathesis: pip install schemathesis")
@pytest.mark.parametrize("service", LOOKED_AT)
def test_every_operation_is_as_it_is_described(served: Served, tmp_path: Path, service: str) -> None:
    left_out, selected = LOOKED_AT[service]
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    options = [f"--max-examples={EXAMPLES}", "--generation-deterministic", "--no-color", *left_out]
    # An observation in which nothing was seen is no stimulus: that filters much.
    options.append("--suppress-health-check=filter_too_much")
    token = f"--header=Authorization: {served.client.headers['Authorization']}"
    described = str(served.client.base_url.join(f"{prefix(service).rstrip('/')}/openapi.json"))
    command = [str(PROGRAM), f"--config-file={configuration}", "run", *options, token, described]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert checked.returncode == 0, checked.stdout[-6000:]
    assert selected in checked.stdout, checked.stdout
