"""What a service says of itself, held against what it does: requests made from its OpenAPI by schemathesis."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from served import Served

PROGRAM = Path(sys.executable).parent / "schemathesis"
EXAMPLES = 30


def check_described(
    served: Served, prefix: str, selected: str, accepted: Sequence[str], tmp_path: Path, *more: str
) -> None:
    """A service answers as it describes. prefix: its path; selected: how many operations are looked at, in
    schemathesis' words; accepted: statuses that may answer a request that is as described; more: options."""
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(f"[checks.positive_data_acceptance]\nexpected-statuses = {json.dumps(accepted)}\n")
    options = [f"--max-examples={EXAMPLES}", "--generation-deterministic", "--no-color", *more]
    token = f"--header=Authorization: {served.client.headers['Authorization']}"
    described = str(served.client.base_url.join(f"{prefix.rstrip('/')}/openapi.json"))
    command = [str(PROGRAM), f"--config-file={configuration}", "run", *options, token, described]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert checked.returncode == 0, checked.stdout[-6000:]
    assert selected in checked.stdout, checked.stdout
