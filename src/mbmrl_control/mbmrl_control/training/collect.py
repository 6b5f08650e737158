"""Collecting episodes in the simulator: random actions, or the controller with a prior (Algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import torch

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.robots.millirobot.body import RobotParameters, vary
from mbmrl_base.robots.millirobot.layout import LEG_NAMES, MAX_LEG_SPEED, MIN_LEG_SPEED
from mbmrl_base.robots.observation import Observation
from mbmrl_control.control.closed_loop import walk
from mbmrl_control.dynamics.prior import Prior, load_prior
from mbmrl_control.planning.settings import MppiSettings
from mbmrl_control.tasks.path.cost import PathCost
from mbmrl_control.tasks.path.paths import PATH_NAMES
from mbmrl_control.training.episodes import Episode
from mbmrl_sim.faults import LEG_LOSS, Fault, random_fault
from mbmrl_sim.sensors import make_sensors
from mbmrl_sim.terrain import DEFAULT_TERRAIN, TERRAINS
from mbmrl_sim.world import World

HELD_OUT_LEGS: Final = (1, 4)
"""Legs, the middle ones, that are never lost in the data that the shipped priors are trained on.

Both, since training shows each walk and its mirror image: leg 1 lost would show leg 4 lost.
"""
TRAINING_LEGS: Final = tuple(leg for leg in range(len(LEG_NAMES)) if leg not in HELD_OUT_LEGS)
HELD_OUT_TERRAIN: Final = "gravel"
"""Ground that these data do not have either."""
TRAINING_TERRAINS: Final = tuple(name for name in TERRAINS if name not in (DEFAULT_TERRAIN, HELD_OUT_TERRAIN))
LONGEST_HOLD: Final = 10
"""Control intervals for which a random action is held at most."""
STANDING: Final = 0.1
"""Share of the random actions that are zero: the robot stands before it walks, and after a stop."""
STEEPEST: Final = math.radians(8.0)
"""Steepest slope of the ground, rad: one down which no robot slides on its belly for ever."""
COLLECTING: Final = MppiSettings(candidates=120, horizon=16)
"""Planner of on-policy episodes: coarser than when the robot is driven, and so more varied."""


@dataclass(frozen=True)
class CollectSettings:
    """What to collect.

    Attributes:
        legs: Legs that may be lost.
        kinds: Kinds of faults that may come.
        grounds: What the ground may become where the kind is ``terrain``.
        faults: Probabilities of no, one and two faults in an episode, each at any step of its first half.
        terrains: Grounds, one of which is chosen for each episode.
        duration: Length of an episode, s.
        rate: Control rate, Hz.
        varied: Share of the episodes in which the robot differs from the nominal one, and the ground slopes.
        sensors: Imperfections of the sensors, as for `make_sensors`.
        prior: Prior of the controller; None for random actions.
    """

    legs: tuple[int, ...] = TRAINING_LEGS
    kinds: tuple[str, ...] = (LEG_LOSS,)
    grounds: tuple[str, ...] = TRAINING_TERRAINS
    faults: tuple[float, float, float] = (0.2, 0.5, 0.3)
    terrains: tuple[str, ...] = (DEFAULT_TERRAIN,)
    duration: float = 10.0
    rate: float = 20.0
    varied: float = 0.8
    sensors: str = "ideal"
    prior: Path | None = None

    @property
    def steps(self) -> int:
        """Control intervals of an episode."""
        return round(self.duration * self.rate)


def _world(settings: CollectSettings, seed: int, rng: np.random.Generator) -> World:
    """The nominal robot on level ground, or one that differs from it on a slope (domain randomisation)."""
    terrain, sensors = str(rng.choice(settings.terrains)), make_sensors(settings.sensors)
    if rng.random() >= settings.varied:
        return World(seed, settings.rate, terrain=terrain, sensors=sensors)
    slope = float(rng.uniform(0, STEEPEST)), float(rng.uniform(-np.pi, np.pi))
    return World(seed, settings.rate, vary(RobotParameters(), rng), terrain, slope, sensors)


def _plan_faults(settings: CollectSettings, rng: np.random.Generator) -> list[tuple[int, Fault]]:
    """Faults of an episode and the steps at which they come, in order; no leg is lost twice."""
    drawn: dict[tuple[str, int, str], tuple[int, Fault]] = {}
    for _ in range(int(rng.choice(3, p=settings.faults))):
        fault = random_fault(rng, settings.kinds, settings.legs, settings.grounds)
        drawn.setdefault(fault.key, (int(rng.integers(0, max(1, settings.steps // 2))), fault))
    return sorted(drawn.values(), key=lambda plan: plan[0])


def _random_walk(world: World, rng: np.random.Generator) -> Iterator[Observation]:
    """Random leg speeds, or standing still, each held for a random time."""
    yield world.observe()
    while True:
        action = rng.uniform(MIN_LEG_SPEED, MAX_LEG_SPEED, 2) * (rng.random() >= STANDING)
        for _ in range(rng.integers(1, LONGEST_HOLD + 1)):
            yield world.step(action)


def _controlled_walk(world: World, rng: np.random.Generator, prior: Prior, seed: int) -> Iterator[Observation]:
    """The controller on a random path at a random speed."""
    cost = PathCost(speed=float(rng.uniform(0.15, 0.3)))
    for tick in walk(world, prior, str(rng.choice(PATH_NAMES)), seed, COLLECTING, cost):
        yield tick.observation


def collect_episode(settings: CollectSettings, seed: int) -> Episode:
    """Collect one episode; all that is random in it follows from the seed."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    plan = _plan_faults(settings, rng)
    world = _world(settings, seed, rng)
    if settings.prior is None:
        observations = _random_walk(world, rng)
    else:
        observations = _controlled_walk(world, rng, load_prior(settings.prior), seed)
    terrain = world.terrain
    seen: list[Observation] = []
    injected: list[dict[str, Any]] = []
    for step, observation in enumerate(observations):
        seen.append(observation)
        if step == settings.steps:
            break
        for due, request in plan:
            if due == step:
                injected.append({"step": step, **asdict(world.inject(request))})
    world.close()
    metadata = {
        "seed": seed,
        "rate": settings.rate,
        "policy": "random" if settings.prior is None else "mpc",
        "robot": DEFAULT_ROBOT,
        "parameters": asdict(world.parameters),
        "terrain": terrain,
        "slope": world.slope,
        "sensors": settings.sensors,
        "faults": injected,
        "versions": {name: version(name) for name in ("mbmrl_sim", "numpy", "pybullet")},
    }
    return Episode(
        state=np.array([observation.state for observation in seen]),
        action=np.array([observation.action for observation in seen[1:]]),
        time=np.array([observation.time for observation in seen]),
        metadata=metadata,
    )


def _collect_into(settings: CollectSettings, seed: int, folder: Path) -> None:
    file = folder / f"{seed:08d}.npz"
    if not file.exists():
        collect_episode(settings, seed).save(file)


def collect(settings: CollectSettings, seeds: Sequence[int], folder: Path, workers: int) -> Iterator[int]:
    """Collect an episode for each seed, in parallel; episodes that are there already are kept.

    The data do not depend on the number of workers.

    Yields:
        How many episodes are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = (joblib.delayed(_collect_into)(settings, seed, folder) for seed in seeds)
    results = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(jobs)
    for done, _ in enumerate(results, start=1):
        yield done
