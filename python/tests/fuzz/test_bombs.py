"""Small files that ask for much: they are refused, or read, in memory that the file or a fixed limit bounds."""

from __future__ import annotations

import json
import os
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mutations import archive, header
from processes import python

from cognitive_actors.files import load_model, save_model

MB = 1 << 20
META = np.array(json.dumps({"format": "cognitive-actors checkpoint", "version": 1, "meta": {}, "sha256": "0"}))


def laughs(levels: int) -> str:
    """A text that grows tenfold with each level, if its aliases are followed."""
    lines = ["a0: &a0 [ha, ha]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


def bombs(examples: Path, at: Path) -> dict[str, bytes]:
    """Files by name. The names say what each would be, if it were believed."""
    text = (examples / "umbrella.yaml").read_text()
    save_model(load_model(examples / "umbrella.yaml"), at / "model.npz")
    with np.load(at / "model.npz") as file:
        model = {name: file[name] for name in file.files}
    deflated = zipfile.ZIP_DEFLATED
    zeros = np.zeros((1, 250 * MB), np.uint8)
    observed = b'{"observation": {"weather": "sun"}, "agent": '
    found: dict[str, bytes] = {
        "zip.npz": archive({**model, "A_0": zeros}, deflated),
        "zip-of-text.npz": archive({**model, "meta": np.array("x" * (32 * MB))}, deflated),
        "zip.checkpoint": archive({"x": zeros, "meta": META}, deflated),
        "laughs.yaml": (laughs(12) + "\n" + text).encode(),
        "brackets.yaml": b"[" * (8 * MB),
        "zeros.yaml": b"version: 1\nfactors: [" + b"0," * (4 * MB) + b"0]",
        "empty-lists.yaml": b"version: 1\nfactors: [" + b"[]," * (2 * MB) + b"0]",
        "base-60.yaml": text.replace("version: 1", "version: 1" + ":59" * MB).encode(),
        "digits.yaml": text.replace("version: 1", "version: " + "9" * MB).encode(),
        "hexadecimal.yaml": text.replace("horizon: 2", "horizon: 0x" + "f" * MB).encode(),
        "long-key.yaml": (f"? {'x' * MB}\n: 1\n" + text).encode(),
        "brackets.jsonl": observed + b"[" * (8 * MB),
        "digits.jsonl": observed + b"9" * 900_000 + b"}\n",
        "one-line.jsonl": b"x" * (64 * MB),
        "commas.csv": b"weather" + b"," * (16 * MB),
        "quote.csv": b'weather\n"' + b"sun\n" * (4 * MB),
    }
    for i, (descr, shape) in enumerate(
        [("'<f8'", "(100000000000,)"), ("'<U0'", "(100000000000,)"), ("'|V0'", "(9" + "0" * 17 + ",)")]
    ):
        found[f"shape-{i}.npz"] = archive({**model, "A_0": header(descr, shape)})
        found[f"shape-{i}.checkpoint"] = archive({"x": header(descr, shape), "meta": META})
    return found


#: MB where the limit is that of the format: what the arrays of a model may take, if they are compressed.
LIMITED = {"zip-of-text.npz": 400}


def test_small_files_do_not_ask_for_much(examples: Path, tmp_path: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is measured on Linux alone")
    files = bombs(examples, tmp_path)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    peak = Path(__file__).with_name("peak.py")
    process = python(str(peak), str(examples / "umbrella.yaml"), *(str(tmp_path / name) for name in files))
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    found = {name: (outcome, int(taken)) for name, outcome, taken in map(str.split, output.splitlines())}
    assert found.keys() == files.keys(), (output, errors[-2000:])
    refused = {"jsonl": "read", "checkpoint": "CheckpointError", "csv": "InputError"}
    for name, (outcome, taken) in found.items():
        expected = "read" if name == "quote.csv" else refused.get(name.rpartition(".")[2], "ModelError")
        assert outcome == expected, (name, outcome, errors[-2000:])
        allowed = LIMITED.get(name, 64 + 20 * len(files[name]) // MB)
        assert taken <= allowed, (name, f"{taken} MB of {len(files[name])} bytes", output)
