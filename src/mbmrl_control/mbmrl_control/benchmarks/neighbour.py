"""What a busy process on another core does to a plan."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from mbmrl_base.robots.observation import Array
from mbmrl_control.benchmarks.planners import contenders
from mbmrl_control.benchmarks.planning import our_plan, our_planner, task, with_threads
from mbmrl_control.benchmarks.timing import OURS, in_ms, interleaved
from mbmrl_control.planning import RollOuts

_SETTLE = 0.1
"""Time after which the neighbour is busy, or still, for sure, s."""


@contextmanager
def neighbour() -> Iterator[Callable[[bool], None]]:
    """A process on the last of this process's cores; a function lets it be busy or still."""
    script = f"import os\nos.sched_setaffinity(0, {{{max(os.sched_getaffinity(0))}}})\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-S", "-c", script])

    def be(busy: bool) -> None:
        process.send_signal(signal.SIGCONT if busy else signal.SIGSTOP)
        time.sleep(_SETTLE)

    try:
        yield be
    finally:
        process.kill()
        process.wait()


def measure(
    threads: int, case: tuple[int, int, int] = (1000, 20, 512), blocks: int = 10, rounds: int = 10
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Plan alone and beside a busy neighbour, in blocks that take turns.

    Yields:
        Name of the case, candidates x horizon x units, and for each contender the times ``alone`` and ``busy``, ms,
        and the ``slowdown``, the ratio of their medians.
    """
    candidates, horizon, width = case
    given = task(width, horizon)
    planner = our_planner(candidates, horizon, RollOuts("auto", threads))
    ways = {name: partial(with_threads, threads, way) for name, way in contenders(given, planner).items()}
    calls: dict[str, Callable[[], object]] = {OURS: our_plan(given, planner), **ways}
    times: dict[str, dict[bool, list[Array]]] = {name: {False: [], True: []} for name in calls}
    with neighbour() as be:
        for block in range(2 * blocks):
            busy = bool(block % 2)
            be(busy)
            for name, taken in interleaved(calls, rounds, warm_up=1, pause=0.03).items():
                times[name][busy].append(taken)
    figures = {}
    for name, taken_by in times.items():
        alone, busy_ms = (in_ms(np.concatenate(taken_by[busy])) for busy in (False, True))
        figures[name] = {"alone": alone, "busy": busy_ms, "slowdown": busy_ms["p50"] / alone["p50"]}
    yield f"{candidates}x{horizon}x{width}", figures
