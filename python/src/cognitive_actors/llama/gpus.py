"""The GPUs of this machine, as NVIDIA's management library (NVML) knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Gpu", "Gpus", "look_at_gpus"]


@dataclass(frozen=True)
class Gpu:
    """name: of the product; total, free: bytes of its memory."""

    name: str
    total: int
    free: int


@dataclass(frozen=True)
class Gpus:
    """found: GPUs by the name that llama.cpp gives them, ``CUDA0``; silent: by the same, why others do not say what
    they have; absent: why there are none at all, or why there is none of another name."""

    found: Mapping[str, Gpu] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    absent: str = ""


def look_at_gpus() -> Gpus:
    """The GPUs as they are now; none without NVML or its Python package.

    NVML counts in the order of the buses, CUDA the fastest first unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``: where the
    GPUs of a machine differ, its RPC servers need that variable.
    """
    try:
        import pynvml
    except ImportError:
        return Gpus(absent="NVIDIA's management library cannot be asked: pip install 'cognitive-actors[llama]'")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Gpus(absent=f"NVIDIA's management library says: {error}")
    try:
        return _look(pynvml)
    finally:
        pynvml.nvmlShutdown()


def _look(nvml: Any) -> Gpus:
    found: dict[str, Gpu] = {}
    silent: dict[str, str] = {}
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        return Gpus(absent=f"NVIDIA's management library says: {error}")
    for i in range(count):
        try:
            device = nvml.nvmlDeviceGetHandleByIndex(i)
            memory = nvml.nvmlDeviceGetMemoryInfo(device)
            found[f"CUDA{i}"] = Gpu(str(nvml.nvmlDeviceGetName(device)), int(memory.total), int(memory.free))
        except nvml.NVMLError as error:
            silent[f"CUDA{i}"] = str(error)
    return Gpus(found, silent, f"NVIDIA's management library counts {count} GPUs")
