"""The task to go at a velocity, as `geometry_msgs/Twist` gives one."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.features import wrap
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import NodeSettings, runtime_field
from mbmrl_control.tasks.base import Costs
from mbmrl_control.tasks.planar import PlanarTask, ahead, check_speed, poses_of

_SPEED: Final = 20.0
"""Cost of an error in speed, s/m."""
_TURN: Final = 4.0
"""Cost of an error in the turn rate, s/rad."""


class TrackVelocitySettings(NodeSettings):
    """Settings of `TrackVelocity`."""

    forward_speed: float = runtime_field(0.0, -100.0, 100.0, "Wanted speed ahead, m/s")
    turn_rate: float = runtime_field(0.0, -100.0, 100.0, "Wanted turn rate, to the left, rad/s")


class TrackVelocity(PlanarTask[TrackVelocitySettings]):
    """Keeps a forward speed and a turn rate; stands if both are 0."""

    name = "track_velocity"
    settings_type = TrackVelocitySettings
    figures = ("speed_error_m_s", "turn_rate_error_rad_s", "cost")

    def __init__(self, robot: Robot, settings: TrackVelocitySettings, interval: float) -> None:
        """Take the robot, the settings, and the control interval, s."""
        super().__init__(robot, settings, interval)
        check_speed(robot, "forward_speed", settings.forward_speed)
        turn, greatest = settings.turn_rate, robot.description.turn_rate or np.inf
        if abs(turn) > greatest:
            raise ValueError(
                f"parameter 'turn_rate' is {turn:g}: {robot.name} cannot turn as fast, allowed is {-greatest:g} to"
                f" {greatest:g} rad/s"
            )

    @property
    def stands(self) -> bool:
        """Whether neither speed is wanted."""
        return self.settings.forward_speed == self.settings.turn_rate == 0

    def costs(self, steps: int) -> Costs:
        """The cost of errors in both."""
        settings = self.settings
        return lambda trajectories: self._of_speeds(*_speeds(poses_of(trajectories), self.interval), settings)

    @staticmethod
    def _of_speeds(forward: Tensor, turn: Tensor, settings: TrackVelocitySettings) -> Tensor:
        return _SPEED * (forward - settings.forward_speed).abs() + _TURN * (turn - settings.turn_rate).abs()

    def _measure(self, pose: Tensor, before: Tensor | None, elapsed: float) -> dict[str, float]:
        values = (np.nan, np.nan, np.nan)
        if before is not None:
            forward, turn = _speeds(torch.stack([before, pose]), elapsed)
            errors = (float(forward) - self.settings.forward_speed, float(turn) - self.settings.turn_rate)
            values = (*errors, float(self._of_speeds(forward, turn, self.settings)))
        return dict(zip(self.figures, values, strict=True))


def _speeds(poses: Tensor, interval: float) -> tuple[Tensor, Tensor]:
    """Forward speed, m/s, and turn rate, rad/s, in each step, shape (..., H + 1, 3) -> (..., H) twice."""
    return ahead(poses) / interval, wrap(poses[..., 2].diff(dim=-1)) / interval
