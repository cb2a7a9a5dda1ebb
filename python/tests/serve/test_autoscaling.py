"""Replicas come with the requests that wait, and go with them; no request is lost on the way."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import yaml
from ports import free_port
from processes import descendants, wait_until
from served import serving

CLIENTS = 32
#: Short delays, so that it happens soon; a batch is waited for, so that requests wait.
SCALED = {
    "name": "Cognitive",
    "autoscaling_config": {
        "min_replicas": 1,
        "max_replicas": 3,
        "target_ongoing_requests": 4,
        "upscale_delay_s": 1,
        "downscale_delay_s": 2,
        "metrics_interval_s": 0.5,
        "look_back_period_s": 1,
    },
    "ray_actor_options": {"num_cpus": 0.1},
}


def test_replicas_follow_the_requests_that_wait(tmp_path: Path) -> None:
    application = {
        "name": "cognitive",
        "route_prefix": "/cognitive",
        "import_path": "cognitive_actors.serve.cognitive:build",
        "args": {"batch": 256, "wait": 0.5},
        "deployments": [SCALED],
    }
    config = tmp_path / "config.yaml"
    port = {"host": "127.0.0.1", "port": free_port()}
    config.write_text(yaml.safe_dump({"http_options": port, "applications": [application]}))
    answers: list[int] = []
    enough = threading.Event()
    with serving(tmp_path, str(config)) as served:

        def replicas() -> int:
            below = descendants(served.process.pid).values()
            return sum(command.startswith("ray::ServeReplica:cognitive") for command in below)

        def ask(number: int) -> None:
            body = {"agent": f"agent {number}", "observation": {"weather": "rain"}}
            with httpx.Client(base_url=served.client.base_url, headers=served.client.headers, timeout=60) as client:
                while not enough.is_set():
                    answers.append(client.post("/cognitive/execute", json=body).status_code)

        wait_until(lambda: served.client.get("/cognitive/ready").status_code == 200, served.process)
        assert replicas() == 1
        clients = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
        for each in clients:
            each.start()
        try:
            wait_until(lambda: replicas() == 3, served.process)
        finally:
            enough.set()
            for each in clients:
                each.join()
        wait_until(lambda: replicas() == 1, served.process)
    assert answers.count(200) == len(answers) >= CLIENTS
