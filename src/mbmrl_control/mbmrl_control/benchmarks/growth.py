"""How the time of a plan grows with candidates, horizon, units and threads, and what other machines would take."""

from __future__ import annotations

import os
from typing import Any, Final

from mbmrl_control.benchmarks.planning import our_plan, our_planner, parts, task
from mbmrl_control.benchmarks.timing import OURS, flops, in_ms, interleaved
from mbmrl_control.planning import RollOuts

CANDIDATES: Final = (100, 200, 500, 1000, 2000, 4000)
HORIZONS: Final = (5, 10, 20, 40)
WIDTHS: Final = (64, 128, 256, 512, 1024)
CORES: Final = (4, 8, 16)
_BASE: Final = (1000, 20, 512)
_GPU_RATE: Final = 50e12
"""Rate in bfloat16 that a GPU is taken to reach on such small products, FLOP/s."""
_GPU_LAUNCH: Final = 5e-6
"""Time to launch a kernel, s."""
_GPU_KERNELS: Final = 45
"""Kernels in a step of a roll-out."""


def _time(case: tuple[int, int, int], roll_outs: RollOuts, rounds: int) -> float:
    candidates, horizon, width = case
    plan = our_plan(task(width, horizon), our_planner(candidates, horizon, roll_outs))
    return in_ms(interleaved({OURS: plan}, rounds, pause=0.01)[OURS])["p50"]


def measure(threads: int, rounds: int = 20) -> dict[str, Any]:
    """Change one size at a time, from 1000 candidates x horizon 20 x 512 units on.

    Returns:
        Times of a plan, ms, over ``candidates``, ``horizon``, ``width`` and ``threads``, each as pairs; and what was
        ``calculated`` from the parts of a plan on one thread, for processors with more such cores, where only
        roll-outs and costs are shared, and for a GPU, limited by its rate and by its launches.
    """
    candidates, horizon, width = _BASE
    shared = RollOuts("auto", threads)
    figures: dict[str, Any] = {
        "base": "x".join(map(str, _BASE)),
        "candidates": [(n, _time((n, horizon, width), shared, rounds)) for n in CANDIDATES],
        "horizon": [(h, _time((candidates, h, width), shared, rounds)) for h in HORIZONS],
        "width": [(w, _time((candidates, horizon, w), shared, rounds)) for w in WIDTHS],
    }
    cores = len(os.sched_getaffinity(0))
    figures["threads"] = [(t, _time(_BASE, RollOuts("auto", t), rounds)) for t in range(1, min(cores, 8) + 1)]
    given = task(width, horizon)
    taken = parts(given, our_planner(candidates, horizon, RollOuts("auto", 1)), rounds)
    alone = max(0.0, taken["rest"])
    work = horizon * flops(candidates, given.sizes)
    gpu = work / _GPU_RATE + horizon * _GPU_KERNELS * _GPU_LAUNCH
    figures["calculated"] = {f"{c} cores": alone + (taken["plan"] - alone) / c for c in CORES} | {
        "GPU": alone + gpu * 1e3
    }
    return figures
