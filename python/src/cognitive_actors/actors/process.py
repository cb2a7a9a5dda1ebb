"""What every actor's process is told before it works."""

from __future__ import annotations

import ctypes
from contextlib import suppress

import torch

#: mallopt's names for "give memory back above" and "map blocks above" (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Larger than the temporaries of any chunk of agents.
_KEPT_BYTES = 256 * 1024 * 1024


def prepare_process() -> None:
    """One thread, and an allocator that keeps what a chunk of agents needs again a moment later.

    One thread: the cluster is filled with actors, and the threads of several would fight for cores. The allocator:
    glibc hands large blocks back to the kernel at once, and asking for them again costs more than the arithmetic
    (up to fourfold, measured). Other libcs are left as they are.
    """
    torch.set_num_threads(1)
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
