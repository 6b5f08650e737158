"""What tasks on a plane share: where the robot is, whether that can be believed, and the speeds that it can go."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import NodeSettings, runtime_field
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.tasks.base import Settings, Task

JUMP: Final = 2.0
"""Distance between two states from which the robot cannot have moved it, m."""


class SpeedSettings(NodeSettings):
    """The speed of tasks that go somewhere."""

    speed: float = runtime_field(0.2, 0.0, 100.0, "Wanted speed, m/s; 0 stands")


def _check_speeds(robot: Robot, settings: NodeSettings) -> None:
    """Refuse speeds, m/s, and turn rates, rad/s, that the robot cannot go, if its description says which it can.

    Raises:
        ValueError: If it cannot.
    """
    low, high = robot.description.speed or (-np.inf, np.inf)
    for name in ("speed", "forward_speed"):
        speed = getattr(settings, name, 0.0)
        if speed != 0 and not low <= speed <= high:
            slow = "backwards" if speed < 0 else "as slowly" if speed < low else "as fast"
            raise ValueError(
                f"parameter {name!r} is {speed:g}: {robot.name} cannot go {slow}, allowed is 0, to stand, or {low:g} to"
                f" {high:g} m/s"
            )
    turn, greatest = getattr(settings, "turn_rate", 0.0), robot.description.turn_rate or np.inf
    if abs(turn) > greatest:
        raise ValueError(
            f"parameter 'turn_rate' is {turn:g}: {robot.name} cannot turn as fast, allowed is {-greatest:g} to"
            f" {greatest:g} rad/s"
        )


class PlanarTask(Task[Settings]):
    """A task of a robot that moves on a plane; its frame is where the robot stood at first, unless it is given.

    A state that is not finite is not believed, nor is one that is a JUMP from the last one that was, until a second
    one agrees.
    """

    sees_states: ClassVar[bool] = False

    def __init__(self, robot: Robot, settings: Settings, interval: float) -> None:
        """Take the robot, the settings, and the control interval, s."""
        if robot.description.planar is None:
            raise ValueError(f"{robot.name} does not move on a plane, as the task {self.name} needs it")
        _check_speeds(robot, settings)
        super().__init__(robot, settings, interval)

    def reset(self) -> None:
        """Let the frame be where the robot stands at the next observation."""
        self.frame = None
        self._last: tuple[Tensor, Observation] | None = None
        self._jumped: Tensor | None = None

    def observe(self, observation: Observation) -> dict[str, float] | None:
        """Measure how the task goes, and what the last step cost."""
        if not np.isfinite(observation.state).all():
            return None
        if self._last is not None and observation.begins(self._last[1]):
            self.reset()
        standing = self.robot.features.pose(torch.from_numpy(observation.state)).numpy()
        if self.frame is None:
            self.frame = standing.copy()
        (x, y, yaw), cosine, sine = (standing - self.frame).tolist(), math.cos(self.frame[2]), math.sin(self.frame[2])
        pose = torch.tensor([cosine * x + sine * y, cosine * y - sine * x, yaw], dtype=torch.float32)
        before, elapsed, moved = None, np.nan, False
        if self._last is not None:
            before, elapsed = self._last[0], observation.time - self._last[1].time
            moved = bool(torch.dist(pose[:2], before[:2]) > JUMP)
        jumped, self._jumped = self._jumped, pose if moved else None
        if moved:
            if jumped is None or torch.dist(pose[:2], jumped[:2]) > JUMP:
                return None
            before = self._jumped = None
        self._moved = moved
        self._state, self._action = (torch.from_numpy(each).float() for each in (observation.state, observation.action))
        figures = self._measure(pose, before if elapsed > 0 else None, elapsed)
        self._last = (pose, observation)
        return figures

    @abstractmethod
    def _measure(self, pose: Tensor, before: Tensor | None, elapsed: float) -> dict[str, float]:
        """Figures at a pose in the frame, and at ``_state``; ``_action`` was in force before; ``_moved``: carried.

        Args:
            pose: x, y in m, yaw in rad, shape (3,).
            before: The pose of the last observation; None if there is none from which the robot can have come.
            elapsed: Time since then, s.
        """


def ahead(poses: Tensor) -> Tensor:
    """Way that each step covers in the heading in which it begins, shape (..., H + 1, 3) -> (..., H), m."""
    move, yaw = poses[..., 1:, :2] - poses[..., :-1, :2], poses[..., :-1, 2]
    return torch.cos(yaw) * move[..., 0] + torch.sin(yaw) * move[..., 1]


def poses_of(trajectories: Trajectories) -> Tensor:
    """Poses of the trajectories of a planar robot, shape (n, H + 1, 3)."""
    poses = trajectories.poses
    assert poses is not None
    return poses
