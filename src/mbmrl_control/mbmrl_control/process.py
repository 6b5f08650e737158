"""Settings of a process that works at a fixed rate."""

from __future__ import annotations

import gc

import torch


def prepare(threads: int) -> None:
    """Set up this process for a fixed rate.

    Torch takes a fixed number of threads: threads that wait for each other stall when another process
    holds a core. What lives now lives on, so the collector need not look at it in each pass.
    """
    torch.set_num_threads(threads)
    gc.collect()
    gc.freeze()
