"""The task to go at a velocity, as `geometry_msgs/Twist` gives one."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.features import wrap
from mbmrl_base.toolkit.settings import NodeSettings, runtime_field
from mbmrl_control.tasks.base import Costs
from mbmrl_control.tasks.planar import PlanarTask, ahead, poses_of

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
