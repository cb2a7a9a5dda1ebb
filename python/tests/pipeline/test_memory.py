"""A longer input does not take more memory."""

from __future__ import annotations

import json
from pathlib import Path

from processes import python

from cognitive_actors.bench.workload import example, write_jsonl

MEASURE = """
import json, sys
from pathlib import Path
import psutil
from cognitive_actors.pipeline.run import RunRequest, run

driver, actors = [0], [0]
def look(_):
    # Without what is shared: pages of the object store count for whoever has touched them, and Ray bounds those.
    own = psutil.Process().memory_info()
    driver[0] = max(driver[0], own.rss - own.shared)
    every = psutil.Process().children(recursive=True)
    sizes = [p.memory_info().rss for p in every if "PopulationActor" in " ".join(p.cmdline())]
    actors[0] = max([actors[0], *sizes])

run(RunRequest(paths=[Path(sys.argv[1])], model=Path(sys.argv[2]), out=Path(sys.argv[3]), shards=1,
               chunk=2048, address="local"), look)
print(json.dumps({"driver": driver[0], "actor": actors[0]}))
"""


def peaks(directory: Path, examples: Path, records: int) -> dict[str, int]:
    source = directory / f"{records}.jsonl"
    write_jsonl(source, example(), 100, records)
    process = python("-c", MEASURE, str(source), str(examples / "umbrella.yaml"), str(directory / "out"))
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    measured: dict[str, int] = json.loads(output.splitlines()[-1])
    assert min(measured.values()) > 0
    return measured


def test_ten_times_the_input_takes_the_same_memory(examples: Path, tmp_path: Path) -> None:
    short, long = (peaks(tmp_path, examples, records) for records in (60_000, 600_000))
    for process, peak in short.items():
        assert long[process] < 1.1 * peak, (process, short, long)
