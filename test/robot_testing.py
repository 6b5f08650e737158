"""Helpers of the tests that need states of the millirobot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_control.control.run_record import Record, Tick, choice
from mbmrl_control.planning.mppi import MppiSettings
from mbmrl_control.tasks import make_task
from mbmrl_control.tasks.path import FollowPath

RandomStates = Callable[..., Tensor]
MILLIROBOT = load_robot("millirobot")
INPUT_SIZE, OUTPUT_SIZE = MILLIROBOT.features.input_size, MILLIROBOT.features.output_size


@pytest.fixture(scope="session")
def random_states() -> RandomStates:
    """A function that draws states of the robot, shape (n, 24), double."""

    def draw(seed: int, count: int) -> Tensor:
        rng = np.random.default_rng(seed)
        states = [
            pack_state(
                rng.uniform(-2, 2, 3),
                rng.normal(0, 0.3, 3),
                rng.uniform((-0.5, -0.5, -np.pi), (0.5, 0.5, np.pi)),
                rng.normal(0, 3, 3),
                rng.uniform(-np.pi, np.pi, 2),
                rng.uniform(0, 56, 2),
                rng.uniform(0, 3, 2),
                rng.uniform(3.6, 4.2),
            )
            for _ in range(count)
        ]
        return torch.from_numpy(np.array(states))

    return draw


def follow(path: str) -> dict[str, Any]:
    """The task to follow a path, as records name it."""
    return choice("follow_path", FollowPath.settings_type(path=path))


FOLLOW = follow("straight")
PLANNER = choice("mppi", MppiSettings())
"""The planner of the nodes, as records name it."""


def path_task(path: str = "straight", **settings: Any) -> FollowPath:
    """The millirobot's task to follow a path, at 20 Hz."""
    task = make_task("follow_path", load_robot("millirobot"), {"path": path} | settings, 0.05)
    assert isinstance(task, FollowPath)
    return task


def standing(x: float, y: float, yaw: float, sequence: int = 0) -> Observation:
    """The millirobot at a pose."""
    still = (0.0, 0.0, 0.0)
    state = pack_state((x, y, 0.02), still, (0.02, -0.01, yaw), still, (0.3, -1.0), (20.0, 25.0), (1.0, 1.2), 3.9)
    return Observation(state, np.array([30.0, 35.0]), 0.05 * sequence, sequence, 1, 0.05)


def walked(learner: str = "grbal", *, aside: float = 0.002, adapted_error: float = 0.1) -> Record:
    """A millirobot that walks ahead for 6 s at 0.2 m/s, some m aside of its path, and loses a leg half-way."""
    ticks = []
    for index in range(121):
        phases = 0.3 * np.array([index, index + 1])
        place = (0.01 * index, aside, 0.025)
        state = pack_state(place, (0.2, 0, 0), (0,) * 3, (0,) * 3, phases, (20, 20), (1, 1), 3.9)
        observation = Observation(state, np.full(2, 20.0), index / 20, index, 1, 0.05)
        lost = ("leg_loss:right_middle",) if index > 60 else ()
        ticks.append(Tick(observation, True, lost, prior_error=0.4, adapted_error=adapted_error, planning_time=0.021))
    origin = np.zeros(3)
    return Record(MILLIROBOT, learner, FOLLOW, PLANNER, 0, 20.0, "leg_loss:right_middle@3", 3.0, ticks, origin)
