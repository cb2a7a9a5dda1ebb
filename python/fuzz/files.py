"""Coverage-guided fuzzing of everything that reads files, with atheris (Linux, Python 3.11 to 3.13), by hand:

    pip install atheris
    python fuzz/files.py KIND [CORPUS] [-max_total_time=300] [-rss_limit_mb=2048]

KIND is one of the endings below. What is found becomes a test in tests/fuzz.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["cognitive_actors.files", "cognitive_actors.placement", "yaml", "zipfile", "csv", "json", "numpy.lib"]
):
    from cognitive_actors.core.validation import ModelError
    from cognitive_actors.files import CheckpointError, InputError, load_arrays, load_model
    from cognitive_actors.files.plain_text import from_text
    from cognitive_actors.files.stimuli import count_stimuli, read_stimuli
    from cognitive_actors.placement import ModelUnfit, read_sizes

_EXAMPLES = Path(__file__).parents[1] / "examples"
_MODEL = load_model(_EXAMPLES / "umbrella.yaml")


def _stimuli(path: Path) -> None:
    counted = count_stimuli([path], _MODEL)
    found = sum(len(batch) + len(batch.rejects) for batch in read_stimuli([path], _MODEL, chunk=7))
    if found != counted:
        raise AssertionError(f"{found} records of {counted}")


READERS: dict[str, Callable[[Path], object]] = {
    "jsonl": _stimuli,
    "csv": _stimuli,
    "parquet": _stimuli,
    "yaml": load_model,
    "npz": load_model,
    "checkpoint": load_arrays,
    "gguf": read_sizes,
    "text": lambda path: from_text(path.read_text(encoding="utf-8", errors="replace")),
}


def main() -> None:
    """Fuzz the reader of one kind of file until told to stop, or something else than its own errors is raised."""
    kind = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if kind not in READERS:
        raise SystemExit(f"write what to read: one of {', '.join(READERS)}")
    directory = tempfile.TemporaryDirectory()
    path = Path(directory.name) / f"x.{kind}"

    def one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            READERS[kind](path)
        except (InputError, ModelError, CheckpointError, ModelUnfit) as error:
            if kind != "text" and str(path) not in str(error):
                raise

    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
