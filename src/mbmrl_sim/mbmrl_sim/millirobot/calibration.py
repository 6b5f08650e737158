"""How the simulated robot walks on each terrain, against recorded walks of the real one.

The recordings are of a VelociRoACH at 10 Hz with random leg speeds (`TARGETS`). The same is done here: at
each terrain's mean leg speed, random actions are held for 0.1 to 0.5 s, and from the walks come the path per
leg revolution and the slope of a regression of the yaw rate on the difference of the measured leg speeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import joblib
import numpy as np

from mbmrl_base.robots.millirobot.layout import LEG_SPEED, MAX_LEG_SPEED, MIN_LEG_SPEED, YAW, angle
from mbmrl_base.robots.observation import Array
from mbmrl_sim.millirobot.terrain import TERRAINS
from mbmrl_sim.millirobot.world import World

RATE: Final = 10.0
"""Hz."""
DURATION: Final = 5.0
"""Length of a walk, s."""
SPREAD: Final = 2.0
"""Leg speeds are drawn within this of the mean, rev/s, and within the robot's range."""
TOLERANCE: Final = 0.15
"""Share of a target by which a figure may miss it."""
TURN: Final = 2 * math.pi


@dataclass(frozen=True)
class Walk:
    """Figures of walks on one terrain.

    Attributes:
        leg_speed: Mean leg speed, rev/s.
        path_per_rev: Path per leg revolution, m.
        yaw_per_difference: Yaw rate per difference of leg speeds, right less left, rad/s per rev/s.
    """

    leg_speed: float
    path_per_rev: float
    yaw_per_difference: float


TARGETS: Final = {
    "carpet": Walk(6.1, 0.052, 0.20),
    "styrofoam": Walk(5.2, 0.044, 0.16),
    "turf": Walk(4.9, 0.045, 0.23),
    "gravel": Walk(7.1, 0.039, 0.14),
}
"""What was recorded of the real robot."""


def random_walk(world: World, mean: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Walk for DURATION with random leg speeds about a mean, rev/s.

    Returns:
        States, shape (n + 1, 24), and actions, shape (n, 2), rad/s.
    """
    states, actions = [world.observe().state], []
    hold = 0
    for _ in range(round(DURATION * RATE)):
        if not hold:
            drawn = TURN * rng.uniform(mean - SPREAD, mean + SPREAD, 2)
            action = np.clip(drawn, MIN_LEG_SPEED, MAX_LEG_SPEED)
            hold = int(rng.integers(1, 6))
        hold -= 1
        observation = world.step(action)
        states.append(observation.state)
        actions.append(observation.action)
    return np.array(states), np.array(actions)


def _one_walk(name: str, seed: int, parts: int) -> tuple[float, float, Array, Array]:
    """Path (m), leg revolutions, and per tick difference of leg speeds (rev/s) and yaw rate (rad/s)."""
    world = World(seed, RATE, terrain=name, parts=parts)
    states, _ = random_walk(world, TARGETS[name].leg_speed, np.random.default_rng((seed, 2)))
    world.close()
    speeds = states[1:, LEG_SPEED] / TURN
    path = float(np.linalg.norm(np.diff(states[:, :2], axis=0), axis=1).sum())
    yaw_rate = np.diff(np.unwrap(angle(states, YAW))) * RATE
    return path, float(speeds.mean(1).sum() / RATE), speeds[:, 1] - speeds[:, 0], yaw_rate


def _figures(walks: Iterable[tuple[float, float, Array, Array]]) -> Walk:
    """Figures of several walks together."""
    paths, revolutions, differences, yaw_rates = zip(*walks, strict=True)
    slope = np.polyfit(np.concatenate(differences), np.concatenate(yaw_rates), 1)[0]
    count = len(paths) * DURATION
    return Walk(sum(revolutions) / count, sum(paths) / sum(revolutions), float(slope))


def calibrate(runs: int, seed: int = 0, workers: int = 1, parts: int = 1) -> Iterator[tuple[str, Walk]]:
    """Walk on each terrain with random actions.

    Args:
        runs: Walks on each.
        seed: Seed of the first walk.
        workers: Processes.
        parts: Equal parts in which each physics step is taken.

    Yields:
        A terrain's name and the figures of its walks.
    """
    with joblib.Parallel(n_jobs=workers) as parallel:
        for name in TERRAINS:
            yield name, _figures(parallel(joblib.delayed(_one_walk)(name, seed + run, parts) for run in range(runs)))


def misses(name: str, walk: Walk) -> tuple[float, float]:
    """By which share path per revolution and yaw rate per difference miss a terrain's targets."""
    target = TARGETS[name]
    return walk.path_per_rev / target.path_per_rev - 1, walk.yaw_per_difference / target.yaw_per_difference - 1


def as_json(walks: Mapping[str, Walk], halved: Mapping[str, Walk] | None = None) -> dict[str, Any]:
    """Figures and targets of all terrains; with those of halved physics steps, what halving changes."""
    terrains = []
    for name, walk in walks.items():
        target = TARGETS[name]
        entry = {
            "name": name,
            "leg_speed_rev_s": walk.leg_speed,
            "path_per_rev_m": walk.path_per_rev,
            "target_path_per_rev_m": target.path_per_rev,
            "yaw_per_rev_difference": walk.yaw_per_difference,
            "target_yaw_per_rev_difference": target.yaw_per_difference,
        }
        if halved is not None:
            entry["path_change_with_half_step"] = halved[name].path_per_rev / walk.path_per_rev - 1
        terrains.append(entry)
    return {"terrains": terrains}


def as_markdown(summary: dict[str, Any]) -> str:
    """The table of simulated against recorded walks of `as_json`."""
    lines = [
        "| terrain | leg rev/s | path per leg rev, m | recorded | off by | yaw rad/s per rev/s | recorded | off by"
        " | path with half the physics step |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in summary["terrains"]:
        path, path_target = entry["path_per_rev_m"], entry["target_path_per_rev_m"]
        yaw, yaw_target = entry["yaw_per_rev_difference"], entry["target_yaw_per_rev_difference"]
        change = entry.get("path_change_with_half_step")
        lines.append(
            f"| {entry['name']} | {entry['leg_speed_rev_s']:.1f} | {path:.4f} | {path_target:.3f}"
            f" | {path / path_target - 1:+.0%} | {yaw:.3f} | {yaw_target:.2f} | {yaw / yaw_target - 1:+.0%}"
            f" | {'not measured' if change is None else f'{change:+.1%}'} |"
        )
    return "\n".join(lines) + "\n"
