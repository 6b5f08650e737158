"""One plan: ours against those of other packages, and against the machine's matrix products alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from mbmrl_base.robots.millirobot.features import BODY_SIZE, INPUT_SIZE, OUTPUT_SIZE
from mbmrl_base.robots.millirobot.layout import ACTION_SIZE, MAX_LEG_SPEED
from mbmrl_control.benchmarks.planners import INFORMED, PEERS, Task, contenders
from mbmrl_control.benchmarks.timing import OURS, compared, flops, gemm_rate, in_ms, interleaved
from mbmrl_control.dynamics.network import initial_layers
from mbmrl_control.planning import Planner, RollOuts, SamplingSettings, make_planner
from mbmrl_control.tasks.path.cost import PathCost
from mbmrl_control.tasks.path.paths import make_path

CASES: Final = ((1000, 20, 512), (1000, 20, 256), (500, 10, 512), (500, 10, 256))
"""Candidates, horizon, units of each of the two hidden layers."""
_INTERVAL: Final = 0.05
_PAUSE: Final = 0.03
"""Time between two plans, s, as a control tick has it."""


def task(width: int, horizon: int) -> Task:
    """A network with two hidden layers of random weights, and the way that a robot has ahead of it."""
    layers = initial_layers((INPUT_SIZE, width, width, OUTPUT_SIZE), torch.Generator().manual_seed(0))
    body, cost = torch.zeros(BODY_SIZE), PathCost()
    body[[4, 6, 11, 13]] = 1.0  # cosines
    reach = 2.0 * cost.speed * _INTERVAL * (horizon + 1)
    return Task(layers, make_path("figure_eight").window(-0.15, reach + 0.15), cost, _INTERVAL, body, torch.zeros(3))


def our_planner(candidates: int, horizon: int, roll_outs: RollOuts) -> Planner:
    """The planner in its usual settings."""
    return make_planner("mppi", SamplingSettings(candidates, horizon), PathCost(), _INTERVAL, 0, roll_outs)


def our_plan(given: Task, planner: Planner) -> Callable[[], object]:
    """One plan, as the node makes it: the thread that plans leaves the others to the roll-outs."""

    def plan() -> object:
        torch.set_num_threads(1)
        return planner.plan(given.layers, given.body, given.pose, given.window)

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
        ways = {name: partial(with_threads, threads, way) for name, way in contenders(given, planner.settings).items()}
        told = compared(interleaved({OURS: our_plan(given, planner), **ways}, rounds, pause=_PAUSE))
        kind, sizes = planner.roll_outs.precision, (INPUT_SIZE, width, width, OUTPUT_SIZE)
        torch.set_num_threads(threads)
        rate = gemm_rate(candidates, sizes, kind, rounds=rounds)
        told["precision"] = str(kind).removeprefix("torch.")
        told["gemm_fraction"] = horizon * flops(candidates, sizes) / (told["ms"]["p50"] * 1e-3) / rate
        informed = told["ratio"].pop(INFORMED, None)
        told["ratio"] = {name: told["ratio"].get(name) for name in PEERS}
        told["informed_ratio"] = informed
        told["parts_ms"] = parts(given, our_planner(candidates, horizon, roll_outs[1]), rounds)
        yield f"{candidates}x{horizon}x{width}", told


def with_threads(threads: int, way: Callable[[], object]) -> None:
    """Do something with a number of threads of torch."""
    torch.set_num_threads(threads)
    way()


def parts(given: Task, planner: Planner, rounds: int) -> dict[str, float]:
    """Medians of a ``plan`` on one thread and of its parts, ``roll_outs``, ``cost`` and the ``rest``, ms."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        settings = planner.settings
        actions = torch.full((settings.candidates, settings.horizon, ACTION_SIZE), MAX_LEG_SPEED)
        place = given.layers, given.body, given.pose
        poses = planner.roll_outs.evaluate(*place, actions, _free).poses
        calls: dict[str, Callable[[], object]] = {
            "plan": our_plan(given, planner),
            "roll_outs": partial(planner.roll_outs.evaluate, *place, actions, _free),
            "cost": partial(given.cost.steps, given.window, poses, given.interval),
        }
        times = {name: in_ms(taken)["p50"] for name, taken in interleaved(calls, max(3, rounds // 4)).items()}
    return times | {"rest": times["plan"] - times["roll_outs"] - times["cost"]}


def _free(poses: Tensor) -> Tensor:
    return poses.new_zeros(len(poses))
