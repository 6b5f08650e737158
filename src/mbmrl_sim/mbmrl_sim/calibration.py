"""How the simulated robot walks on each terrain, against recorded walks of the real one.

The recordings are of a VelociRoACH at 10 Hz with random leg speeds (`TARGETS`). The same is done here: at
each terrain's mean leg speed, random actions are held for 0.1 to 0.5 s, and from the walks come the path per
leg revolution and the slope of a regression of the yaw rate on the difference of the measured leg speeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import joblib
import numpy as np

from mbmrl_sim.robot import RobotParameters
from mbmrl_sim.state import LEG_SPEED, MAX_LEG_SPEED, MIN_LEG_SPEED, YAW, Array, angle
from mbmrl_sim.terrain import TERRAINS
from mbmrl_sim.world import World

RATE: Final = 10.0
"""Hz."""
DURATION: Final = 5.0
"""Length of a walk, s."""
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
    """Walk for DURATION with random leg speeds about a mean, rev/s, as far from it as the robot's range allows.

    Returns:
        States, shape (n + 1, 24), and actions, shape (n, 2), rad/s.
    """
    states, actions = [world.observe().state], []
    hold = 0
    spread = min(mean - MIN_LEG_SPEED / TURN, MAX_LEG_SPEED / TURN - mean)
    for _ in range(round(DURATION * RATE)):
        if not hold:
            action = TURN * rng.uniform(mean - spread, mean + spread, 2)
            hold = int(rng.integers(1, 6))
        hold -= 1
        observation = world.step(action)
        states.append(observation.state)
        actions.append(observation.action)
    return np.array(states), np.array(actions)


def _one_walk(
    name: str, mean: float, seed: int, parameters: RobotParameters | None
) -> tuple[float, float, Array, Array]:
    """Path (m), leg revolutions, and per tick difference of leg speeds (rev/s) and yaw rate (rad/s)."""
    world = World(seed, RATE, parameters, terrain=name)
    states, _ = random_walk(world, mean, np.random.default_rng((seed, 2)))
    world.close()
    speeds = states[1:, LEG_SPEED] / TURN
    path = float(np.linalg.norm(np.diff(states[:, :2], axis=0), axis=1).sum())
    yaw_rate = np.diff(np.unwrap(angle(states, YAW))) * RATE
    return path, float(speeds.mean(1).sum() / RATE), speeds[:, 1] - speeds[:, 0], yaw_rate


def figures(walks: Iterable[tuple[float, float, Array, Array]]) -> Walk:
    """Figures of several walks together."""
    paths, revolutions, differences, yaw_rates = zip(*walks, strict=True)
    slope = np.polyfit(np.concatenate(differences), np.concatenate(yaw_rates), 1)[0]
    count = len(paths) * DURATION
    return Walk(sum(revolutions) / count, sum(paths) / sum(revolutions), float(slope))


def calibrate(
    names: Iterable[str] = TERRAINS,
    runs: int = 24,
    seed: int = 0,
    workers: int = 1,
    parameters: RobotParameters | None = None,
) -> Iterator[tuple[str, Walk]]:
    """Walk on terrains with random actions.

    Args:
        names: Terrains.
        runs: Walks on each.
        seed: Seed of the first walk.
        workers: Processes.
        parameters: The robot; the default one where None.

    Yields:
        A terrain's name and the figures of its walks.
    """
    with joblib.Parallel(n_jobs=workers) as parallel:
        for name in names:
            mean = TARGETS[name].leg_speed
            yield (
                name,
                figures(parallel(joblib.delayed(_one_walk)(name, mean, seed + run, parameters) for run in range(runs))),
            )
