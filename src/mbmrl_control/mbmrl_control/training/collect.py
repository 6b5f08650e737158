"""Collecting episodes in the simulator: random actions, or the controller with a prior (Algorithm 1)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, as_metadata
from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.simulator import Simulator
from mbmrl_base.system.parallel import each
from mbmrl_control.control.closed_loop import walk
from mbmrl_control.control.exploration import RandomActions
from mbmrl_control.dynamics.prior import Prior, load_prior
from mbmrl_control.planning.mppi import MppiSettings
from mbmrl_control.tasks import DEFAULT_TASK, make_task
from mbmrl_control.tasks.path import PATH_NAMES
from mbmrl_control.training.episodes import Episode
from mbmrl_sim.catalogue import DEFAULT_TERRAIN, fault_kinds, make_simulator

COLLECTING: Final = MppiSettings(candidates=120, horizon=16)
"""Planner of on-policy episodes: coarser than when the robot is driven, and so more varied."""


@dataclass(frozen=True)
class CollectSettings:
    """What to collect.

    Attributes:
        simulator: The simulator, as of `make_simulator`.
        kinds: Kinds of faults that may come; the simulator's first one if None.
        parts: Parts that may be hit, of kinds that have one of these; those that training may show if empty.
        faults: Probabilities of no, one and two faults in an episode, each at any step of its first half.
        terrains: Grounds, one of which is chosen for each episode.
        duration: Length of an episode, s.
        rate: Control rate, Hz.
        varied: Share of the episodes in which the robot differs from the nominal one, and the ground slopes.
        sensors: Imperfections of the sensors, as for `make_sensors`.
        prior: Prior of the controller; None for random actions.
        task: What the controller does: a name, or a file, as of `make_task`.
        task_settings: Its settings, as of `make_task`.
    """

    simulator: str = DEFAULT_ROBOT
    kinds: tuple[str, ...] | None = None
    parts: tuple[str, ...] = ()
    faults: tuple[float, float, float] = (0.2, 0.5, 0.3)
    terrains: tuple[str, ...] = (DEFAULT_TERRAIN,)
    duration: float = 10.0
    rate: float = 20.0
    varied: float = 0.8
    sensors: str = "ideal"
    prior: Path | None = None
    task: str = DEFAULT_TASK
    task_settings: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What an episode's metadata say of them, but for the prior."""
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "prior"}
        return dict(json.loads(json.dumps(given)))

    @property
    def steps(self) -> int:
        """Control intervals of an episode."""
        return round(self.duration * self.rate)


def _plan_faults(settings: CollectSettings, rng: np.random.Generator) -> list[tuple[int, Fault]]:
    """Faults of an episode and the steps at which they come, in order; no part is hit twice."""
    drawn: dict[tuple[str, str], tuple[int, Fault]] = {}
    kinds = fault_kinds(settings.simulator)
    allowed = [*kinds][:1] if settings.kinds is None else settings.kinds
    for _ in range(int(rng.choice(3, p=settings.faults if allowed else (1.0, 0.0, 0.0)))):
        fault = kinds.draw(rng, allowed, settings.parts, DEFAULT_TERRAIN)
        drawn.setdefault(fault.key, (int(rng.integers(0, max(1, settings.steps // 2))), fault))
    return sorted(drawn.values(), key=lambda plan: plan[0])


def _random_walk(simulator: Simulator, rng: np.random.Generator) -> Iterator[Observation]:
    """Random actions, see `RandomActions`."""
    observation, actions = simulator.observe(), RandomActions(simulator.robot, rng)
    yield observation
    while True:
        observation = simulator.step(actions.next(observation.state))
        yield observation


def _controlled_walk(
    simulator: Simulator, rng: np.random.Generator, prior: Prior, seed: int, task: str, settings: dict[str, Any]
) -> Iterator[Observation]:
    """The controller; paths are random, at a random speed, unless settings say otherwise."""
    given: dict[str, Any] = {}
    if task == DEFAULT_TASK:
        low, high = simulator.robot.description.speed or (0.0, np.inf)
        given = {"speed": float(np.clip(rng.uniform(0.15, 0.3), low, high)), "path": str(rng.choice(PATH_NAMES))}
    made = make_task(task, prior.robot, given | settings, 1.0 / simulator.rate)
    for tick in walk(simulator, prior, made, seed, COLLECTING):
        yield tick.observation


def collect_episode(settings: CollectSettings, seed: int) -> Episode:
    """Collect one episode; all that is random in it follows from the seed."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    plan = _plan_faults(settings, rng)
    terrain = str(rng.choice(settings.terrains))
    # The nominal robot on level ground, or one that differs from it on a slope (domain randomisation).
    varied = rng if rng.random() < settings.varied else None
    simulator = make_simulator(
        settings.simulator, seed, settings.rate, terrain=terrain, sensors=settings.sensors, varied=varied
    )
    if settings.prior is None:
        observations = _random_walk(simulator, rng)
    else:
        prior = load_prior(settings.prior, simulator.robot)
        observations = _controlled_walk(simulator, rng, prior, seed, settings.task, settings.task_settings)
    robot, about = simulator.robot, simulator.about
    seen: list[Observation] = []
    injected: list[dict[str, Any]] = []
    for step, observation in enumerate(observations):
        seen.append(observation)
        if step == settings.steps:
            break
        for due, request in plan:
            if due == step:
                injected.append({"step": step, **asdict(simulator.inject(request))})
    simulator.close()
    metadata = {
        "seed": seed,
        "rate": settings.rate,
        "policy": "random" if settings.prior is None else "mpc",
        "robot": as_metadata(robot),
        **about,
        "sensors": settings.sensors,
        "faults": injected,
        "collected": settings.as_json(),
        "versions": {name: version(name) for name in ("mbmrl_sim", "numpy", "pybullet")},
    }
    return Episode(
        state=np.array([observation.state for observation in seen]),
        action=np.array([observation.action for observation in seen[1:]]),
        time=np.array([observation.time for observation in seen]),
        metadata=metadata,
    )


def _file(folder: Path, seed: int) -> Path:
    return folder / f"{seed:08d}.npz"


def check_kept(settings: CollectSettings, seeds: Sequence[int], folder: Path) -> None:
    """Refuse to add to what was collected with other settings; an episode need not say them.

    Raises:
        ValueError: If an episode of these seeds that is there was collected with other settings.
    """
    file = next((file for seed in seeds if (file := _file(folder, seed)).exists()), None)
    if file is None:
        return
    try:
        with np.load(file) as arrays:
            known = json.loads(str(arrays["metadata"])).get("collected")
    except (OSError, KeyError, ValueError):  # who reads it says what is wrong with it
        return
    for name, value in settings.as_json().items():
        if known is not None and known.get(name) != value:
            raise ValueError(
                f"{file} was collected with {name} {json.dumps(known.get(name))}, wanted is {json.dumps(value)}:"
                " give another folder"
            )


def collect(settings: CollectSettings, seeds: Sequence[int], folder: Path, workers: int) -> Iterator[int]:
    """Collect an episode for each seed, in parallel; episodes that are there already are kept.

    The data do not depend on the number of workers. What is there is not looked at, see `check_kept`.

    Yields:
        How many episodes are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {seed: _file(folder, seed) for seed in seeds}
    missing = [seed for seed, file in files.items() if not file.exists()]
    done = len(files) - len(missing)
    yield from range(1, done + 1)
    # Who collects may be another machine: this one writes.
    for number, episode in each(collect_episode, ((settings, seed) for seed in missing), workers):
        episode.save(files[missing[number]])
        done += 1
        yield done
