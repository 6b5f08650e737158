"""One plan: against other packages and the machine's products alone, over its sizes, and beside a busy process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.observation import Array
from mbmrl_control.benchmarks.peers import PLANNERS
from mbmrl_control.benchmarks.planners import INFORMED, Task, contenders
from mbmrl_control.benchmarks.timing import OURS, compared, flops, gemm_rate, in_ms, interleaved
from mbmrl_control.dynamics.model import ReluNetwork
from mbmrl_control.dynamics.network import Normalizer, initial_layers
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.planning import Planner, RollOuts, make_planner
from mbmrl_control.planning.mppi import MppiSettings
from mbmrl_control.planning.rollout import Outcome
from mbmrl_control.tasks.path import PathCost, make_path

CASES: Final = ((1000, 20, 512), (1000, 20, 256), (500, 10, 512), (500, 10, 256))
"""Candidates, horizon, units of each of the two hidden layers."""
_INTERVAL: Final = 0.05
_PAUSE: Final = 0.03
"""Time between two plans, s, as a control tick has it."""
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
_SETTLE = 0.1
"""Time after which the neighbour is busy, or still, for sure, s."""


def task(width: int, horizon: int) -> Task:
    """A network with two hidden layers of random weights, and the way that a robot has ahead of it."""
    robot, cost = load_robot("millirobot"), PathCost()
    inputs, outputs = robot.features.input_size, robot.features.output_size
    layers = initial_layers((inputs, width, width, outputs), torch.Generator().manual_seed(0))
    normalizer = Normalizer(torch.zeros(inputs), torch.ones(inputs), torch.zeros(outputs), torch.ones(outputs))
    state = torch.zeros(len(robot.state_names), dtype=torch.float64)
    state[[robot.state(name) for name in robot.state_names if name.startswith("cos_")]] = 1.0
    reach = 2.0 * cost.speed * _INTERVAL * (horizon + 1)
    window = make_path("figure_eight").window(-0.15, reach + 0.15)
    return Task(robot, ReluNetwork(layers), normalizer, window, cost, _INTERVAL, state)


def our_planner(candidates: int, horizon: int, roll_outs: RollOuts) -> Planner:
    """The planner in its usual settings."""
    settings = MppiSettings(candidates=candidates, horizon=horizon)
    return make_planner("mppi", load_robot("millirobot"), settings, _INTERVAL, 0, roll_outs)


def our_plan(given: Task, planner: Planner) -> Callable[[], object]:
    """One plan, as the node makes it: the thread that plans leaves the others to the roll-outs."""

    def plan() -> object:
        torch.set_num_threads(1)
        # As in the node, each plan has a model that is new.
        return planner.plan(replace(given.model), given.normalizer, given.state, given.costs, sees_states=False)

    return plan


def measure(
    threads: int, cases: Sequence[tuple[int, int, int]] = CASES, rounds: int = 100, precision: str = "auto"
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Plan once, with a number of threads for all contenders.

    Yields:
        Name of the case, candidates x horizon x units, and its figures: `compared`, with the ratio to
        pytorch_mppi under autocast apart, as ``informed_ratio``; the ``precision`` of our hidden layers;
        ``gemm_fraction``, of the machine's rate at the network's products in that precision; ``parts_ms``, a plan
        on one thread, and what roll-outs, cost, and the rest, sampling and weighting, take of it.
    """
    roll_outs = {count: RollOuts(precision, count) for count in {1, threads}}
    for candidates, horizon, width in cases:
        given = task(width, horizon)
        planner = our_planner(candidates, horizon, roll_outs[threads])
        ways = {name: partial(with_threads, threads, way) for name, way in contenders(given, planner).items()}
        measured = compared(interleaved({OURS: our_plan(given, planner), **ways}, rounds, pause=_PAUSE))
        kind, sizes = planner.roll_outs.precision, given.sizes
        torch.set_num_threads(threads)
        rate = gemm_rate(candidates, sizes, kind, rounds=rounds)
        measured["precision"] = str(kind).removeprefix("torch.")
        measured["gemm_fraction"] = horizon * flops(candidates, sizes) / (measured["ms"]["p50"] * 1e-3) / rate
        informed = measured["ratio"].pop(INFORMED, None)
        measured["ratio"] = {name: measured["ratio"].get(name) for name in PLANNERS}
        measured["informed_ratio"] = informed
        measured["parts_ms"] = parts(given, our_planner(candidates, horizon, roll_outs[1]), rounds)
        yield f"{candidates}x{horizon}x{width}", measured


def with_threads(threads: int, way: Callable[[], object]) -> None:
    """Do something with a number of threads of torch."""
    torch.set_num_threads(threads)
    way()


def parts(given: Task, planner: Planner, rounds: int) -> dict[str, float]:
    """Medians of a ``plan`` on one thread and of its parts, ``roll_outs``, ``cost`` and the ``rest``, ms."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        fastest = torch.from_numpy(planner.robot.high).float()
        actions = fastest.repeat(planner.settings.candidates, planner.settings.horizon, 1)

        def rolled() -> Outcome:
            """Roll-outs without costs."""
            ready = planner.roll_outs.ready(
                given.robot.features,
                given.normalizer,
                replace(given.model),
                given.state,
                actions[0, :0],
                sees_states=False,
            )
            return planner.roll_outs.evaluate(ready, actions, _free)

        poses = rolled().poses
        assert poses is not None
        calls: dict[str, Callable[[], object]] = {
            "plan": our_plan(given, planner),
            "roll_outs": rolled,
            "cost": partial(given.cost.steps, given.window, poses, given.interval),
        }
        times = {name: in_ms(taken)["p50"] for name, taken in interleaved(calls, max(3, rounds // 4)).items()}
    return times | {"rest": times["plan"] - times["roll_outs"] - times["cost"]}


def _free(trajectories: Trajectories) -> Tensor:
    return trajectories.actions.new_zeros(len(trajectories.actions))


def _median(case: tuple[int, int, int], roll_outs: RollOuts, rounds: int) -> float:
    candidates, horizon, width = case
    plan = our_plan(task(width, horizon), our_planner(candidates, horizon, roll_outs))
    return in_ms(interleaved({OURS: plan}, rounds, pause=0.01)[OURS])["p50"]


def measure_growth(threads: int, rounds: int = 20) -> dict[str, Any]:
    """Change one size at a time, from 1000 candidates x horizon 20 x 512 units on.

    Returns:
        Times of a plan, ms, over ``candidates``, ``horizon``, ``width`` and ``threads``, each as pairs; and what was
        ``calculated`` from the parts of a plan on one thread, for processors with more such cores, where only
        roll-outs and costs are shared, and for a GPU, limited by its rate and by its launches.
    """
    candidates, horizon, width = _BASE
    shared = RollOuts("auto", threads)
    cores = len(os.sched_getaffinity(0))
    figures: dict[str, Any] = {
        "base": "x".join(map(str, _BASE)),
        "candidates": [(n, _median((n, horizon, width), shared, rounds)) for n in CANDIDATES],
        "horizon": [(h, _median((candidates, h, width), shared, rounds)) for h in HORIZONS],
        "width": [(w, _median((candidates, horizon, w), shared, rounds)) for w in WIDTHS],
        "threads": [(t, _median(_BASE, RollOuts("auto", t), rounds)) for t in range(1, min(cores, 8) + 1)],
    }
    given = task(width, horizon)
    taken = parts(given, our_planner(candidates, horizon, RollOuts("auto", 1)), rounds)
    alone = max(0.0, taken["rest"])
    work = horizon * flops(candidates, given.sizes)
    gpu = work / _GPU_RATE + horizon * _GPU_KERNELS * _GPU_LAUNCH
    figures["calculated"] = {f"{c} cores": alone + (taken["plan"] - alone) / c for c in CORES} | {
        "GPU": alone + gpu * 1e3
    }
    return figures


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


def measure_beside_neighbour(
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
