"""How much memory each of some files takes to read: run by a test, as a process.

python peak.py MODEL FILE...: for each file a line of its name, what came of it and the MB that reading it took on top,
at the most. Each is read in a process of its own.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import pyarrow.parquet  # noqa: F401  (not counted: it would be loaded by the first file)

from cognitive_actors.core.validation import ModelError
from cognitive_actors.files import CheckpointError, InputError, load_arrays, load_model
from cognitive_actors.files.stimuli import read_stimuli

#: Whatever asks for more than this ends, and the machine does not.
MOST = 6 << 30


def read(path: Path, model: str) -> str:
    """What comes of a file: "read", or the type of the error."""
    try:
        if path.suffix == ".checkpoint":
            load_arrays(path)
        elif path.suffix in (".yaml", ".npz"):
            load_model(path)
        else:
            known = load_model(model)
            for _ in read_stimuli([path], known):
                pass
    except (InputError, ModelError, CheckpointError) as error:
        return type(error).__name__
    return "read"


def main(model: str, paths: list[str]) -> None:
    """Read each file and print what it took."""
    load_model(model)
    for path in map(Path, paths):
        child = os.fork()
        if not child:
            resource.setrlimit(resource.RLIMIT_AS, (MOST, MOST))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            outcome = read(path, model)
            taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            print(path.name, outcome, taken >> 10, flush=True)
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            print(path.name, "died", 0, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
