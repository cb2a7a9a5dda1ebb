"""Loading and saving generative models: YAML for people, NPZ for large models and for one model per agent.

A model file is data. Nothing in it is ever executed: no pickle, no YAML tags, nothing larger than 256 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ..core.model import GenerativeModel
from ..core.validation import ModelError
from .atomic import replacing
from .model_arrays import check_names
from .model_npz import read_model_npz, write_model_npz
from .model_yaml import COUNT_FLOOR, read_yaml
from .model_yaml_text import write_yaml
from .npz import NpzError
from .yaml_text import YamlError

__all__ = ["COUNT_FLOOR", "SIZE_LIMIT", "ModelError", "load_model", "save_model"]

#: Larger files are refused, and so are NPZ files whose arrays take more than this once they are unpacked.
SIZE_LIMIT = 256 << 20

_YAML = (".yaml", ".yml")
_NPZ = ".npz"
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".dill")


def load_model(
    path: str | Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> GenerativeModel:
    """Read a model from a .yaml, .yml or .npz file (formats: ``model_yaml``, ``model_npz``).

    Raises ModelError, naming the file, the place in it and what to write, for anything that is not such a model.
    """
    path = Path(path)
    suffix = _suffix(path)
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise ModelError(f"{path}: {size >> 20} MB; models of at most {SIZE_LIMIT >> 20} MB are read")
        if suffix in _YAML:
            arrays = read_yaml(path)
        else:
            with _naming(path):
                arrays = read_model_npz(path, SIZE_LIMIT)
        with _naming(path):
            return arrays.build(dtype, device)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}; write the path of a .yaml or .npz model file") from None
    except YamlError as error:
        line = f", line {error.line}" if error.line else ""
        raise ModelError(f"{path}{line}: {error}") from None
    except NpzError as error:
        raise ModelError(f"{path}: {error}; write the model as YAML, or again with save_model(model, path)") from None


def save_model(model: GenerativeModel, path: str | Path) -> None:
    """Write a model, whole or not at all, so that load_model with its dtype gives back the same numbers.

    Raises ModelError for a name that is empty or there twice, and for YAML if agents have arrays of their own.
    """
    path = Path(path)
    suffix = _suffix(path)
    check_names(model)
    with replacing(path) as file:
        if suffix in _YAML:
            write_yaml(model, file)
        else:
            write_model_npz(model, file)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of the errors of code that does not know it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise ModelError(
            f"{path}: {suffix} files may hold code that runs when they are read, so they never are;"
            " write the model as YAML, or save it with save_model(model, path) as .yaml or .npz"
        )
    if suffix not in (*_YAML, _NPZ):
        raise ModelError(f"{path}: unknown ending {path.suffix!r}; name the model file .yaml or .npz")
    return suffix
