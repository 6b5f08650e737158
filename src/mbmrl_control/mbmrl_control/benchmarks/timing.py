"""Times of contenders that take turns, and what is reported of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch

from mbmrl_base.robots.observation import Array

Calls = Mapping[str, Callable[[], object]]
"""What each contender does once."""

OURS: Final = "mbmrl"


def interleaved(calls: Calls, rounds: int, warm_up: int = 2, pause: float = 0.0) -> dict[str, Array]:
    """Times of each contender, s.

    They take turns, so that what else the machine does meets all of them; the order changes from round to
    round, so that no one always follows the same one. A pause before each, s, lets threads of OpenMP that spin
    after the one before come to rest. Garbage is collected before each, outside of its time, and as Python does it
    within: each bears what it makes itself, and memory does not grow. What was there before is left out of that.
    """
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.freeze()
    try:
        for index in range(-warm_up, rounds):
            for name in names[index % len(names) :] + names[: index % len(names)]:
                gc.collect()
                time.sleep(pause)
                start = time.perf_counter()
                calls[name]()
                if index >= 0:
                    times[name].append(time.perf_counter() - start)
    finally:
        gc.unfreeze()
    return {name: np.array(values) for name, values in times.items()}


def in_ms(times: Array) -> dict[str, float]:
    """Median and 99th percentile of times in s, in ms."""
    p50, p99 = np.percentile(times, (50, 99)) * 1e3
    return {"p50": float(p50), "p99": float(p99)}


def compared(times: Mapping[str, Array]) -> dict[str, Any]:
    """Our times, those of the peers, and the ratios of the medians: ours / theirs."""
    peers = {name: in_ms(values) for name, values in times.items()}
    ours = peers.pop(OURS)
    return {
        "ms": ours,
        "peers_ms": peers,
        "ratio": {name: ours["p50"] / each["p50"] for name, each in peers.items()},
        "samples": len(times[OURS]),
    }


def gemm_rate(rows: int, sizes: tuple[int, ...], dtype: torch.dtype = torch.float32, rounds: int = 15) -> float:
    """The machine's rate of matrix products alone, for the shapes of a network on a number of rows, FLOP/s."""
    weights = [torch.randn(outputs, inputs).to(dtype) for inputs, outputs in pairwise(sizes)]
    values = [torch.randn(size, rows).to(dtype) for size in sizes]

    def multiply() -> None:
        for weight, entering, leaving in zip(weights, values, values[1:], strict=False):
            torch.mm(weight, entering, out=leaving)

    with torch.inference_mode():
        times = interleaved({OURS: multiply}, rounds)[OURS]
    return flops(rows, sizes) / float(np.median(times))


def flops(rows: int, sizes: tuple[int, ...]) -> float:
    """Floating point operations of a network's matrix products on a number of rows."""
    return 2.0 * rows * sum(inputs * outputs for inputs, outputs in pairwise(sizes))
