"""Settings of a process that works at a fixed rate."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import Final

import torch

_MCL_CURRENT_AND_FUTURE: Final = 3
_FULL_COLLECTION: Final = 256
"""Ticks between two collections of all generations."""


def prepare(threads: int, cpus: str = "", priority: int = 0, lock_memory: bool = False) -> None:
    """Set up this process for a fixed rate, with all threads that it has and will have.

    Torch takes a fixed number of threads: threads that wait for each other stall when another process
    holds a core.

    Args:
        threads: Threads of torch.
        cpus: Numbers of the processors that the process may run on, with commas between; empty: as it is.
        priority: Priority of SCHED_FIFO, 1 to 99; 0: as it is.
        lock_memory: Whether to keep all memory from being swapped out.

    Raises:
        ValueError: If a processor is not there, or the system does not allow what is wanted.
    """
    torch.set_num_threads(threads)
    tasks = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    if cpus:
        try:
            wanted = set(map(int, cpus.split(",")))
        except ValueError:
            raise ValueError(f"cpus is {cpus!r}: wanted are numbers with commas between, such as 0,1") from None
        if missing := wanted - os.sched_getaffinity(0):
            raise ValueError(f"there is no processor {min(missing)} for this process: cpus is {cpus!r}")
        for task in tasks:
            os.sched_setaffinity(task, wanted)
    if priority:
        try:
            for task in tasks:
                os.sched_setscheduler(task, os.SCHED_FIFO, os.sched_param(priority))
        except PermissionError:
            raise ValueError(
                f"the system does not allow the realtime priority {priority}: it takes CAP_SYS_NICE, or a limit rtprio"
                " in /etc/security/limits.conf"
            ) from None
    if lock_memory and ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT_AND_FUTURE):
        reason = os.strerror(ctypes.get_errno()).lower()
        raise ValueError(
            f"memory cannot be locked, {reason}: it takes CAP_IPC_LOCK, or a limit memlock in /etc/security/limits.conf"
        )


def take_over_garbage() -> None:
    """From now on collect garbage by `collect`, and at no other time; what lives now lives on."""
    gc.collect()
    gc.freeze()
    gc.disable()


def collect(tick: int) -> None:
    """Collect garbage while there is time, after the work of a tick of a number."""
    gc.collect(0 if tick % _FULL_COLLECTION else 2)
