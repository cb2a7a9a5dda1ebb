"""Stimuli and a model for a soak, made on a machine of the cluster: `soak_stimuli.py DIRECTORY`.

A run of these commits several times between two kills, and lasts about a minute when nothing disturbs it.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from cognitive_actors.pipeline.examples import example_model

AGENTS, DAYS = 40, 3000
_HORIZON = "horizon: 8 "


def write(directory: Path) -> None:
    """Write days.jsonl, with a few records that are rejects, and model.yaml."""
    directory.mkdir(exist_ok=True)
    draw = random.Random(0).choice
    with open(directory / "days.jsonl", "w") as file:
        for day in range(DAYS):
            for agent in range(AGENTS):
                seen = {"weather": draw(("drizzle", "rain", "sun", "fog")), "wind": draw(("calm", "breezy", "windy"))}
                if day % 500 == 7 and agent == 3:
                    seen["weather"] = "frogs"  # no outcome of the model
                record = {"id": f"{agent}/{day}", "agent": f"agent-{agent}", "time": day, "observation": seen}
                file.write(json.dumps(record) + "\n")
    near = example_model().read_text()
    far = near.replace("horizon: 2 ", _HORIZON)
    if far == near:
        raise ValueError("the example model has no 'horizon: 2 ' any more that could be made longer")
    (directory / "model.yaml").write_text(far)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
