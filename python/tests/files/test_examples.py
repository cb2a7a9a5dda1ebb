"""The example data that is shipped is what its script makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from cognitive_actors.core.model import GenerativeModel
from cognitive_actors.files import load_model


def test_the_script_makes_the_files_again(examples: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, examples / "prepare_seattle.py", tmp_path], check=True)
    for name in ("seattle-weather.jsonl", "first-days.csv"):
        assert (tmp_path / name).read_bytes() == (examples / name).read_bytes()
    made, shipped = (pq.read_table(folder / "first-days.parquet") for folder in (tmp_path, examples))
    assert made.equals(shipped)
    new, old = (load_model(folder / "umbrella.yaml", dtype=torch.float64) for folder in (tmp_path, examples))
    for name, x in new.tensors().items():
        # Probabilities have four decimals; another processor may round the last one otherwise.
        np.testing.assert_allclose(x, old.tensors()[name], rtol=0, atol=1.01e-4)


def test_the_umbrella_model(model: GenerativeModel) -> None:
    assert (model.name, model.horizon, model.num_policies) == ("umbrella", 2, 4)
    assert [modality.name for modality in model.modalities] == ["weather", "temperature", "wind", "comfort"]
    assert model.num_actions == (1, 2)
    # Without an umbrella the wet regime soaks most often, the dry one least.
    soaked = model.A[3][0, 2, :, 1]
    assert soaked.argmax() == 2 and soaked.argmin() == 0
