"""The task to move forward as fast as effort allows, as in the simulated tasks of Nagabandi, Clavera et al., ICLR 2019.

There the reward of a step is the speed along x less a share of the squared actions (appendix); here the cost is its
negative, and actions count as shares of their bounds.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import NodeSettings, runtime_field
from mbmrl_control.dynamics.rollout import Trajectories
from mbmrl_control.tasks.base import Costs
from mbmrl_control.tasks.planar import PlanarTask, poses_of


class MoveForwardSettings(NodeSettings):
    """Settings of `MoveForward`."""

    effort_weight: float = runtime_field(
        0.05,
        0.0,
        1e4,
        "Cost of an action at its bound, per action, in m/s of speed that it has to bring",
        tuned=(0.005, 0.5),
    )


class MoveForward(PlanarTask[MoveForwardSettings]):
    """Moves in the direction in which the robot looked at first."""

    name = "move_forward"
    settings_type = MoveForwardSettings
    figures = ("forward_speed_m_s", "distance_m", "cost")

    def __init__(self, robot: Robot, settings: MoveForwardSettings, interval: float) -> None:
        """Take the robot, the settings, and the control interval, s."""
        super().__init__(robot, settings, interval)
        largest = np.maximum(np.abs(robot.planned), 1e-9).max(axis=0)
        self._largest = torch.from_numpy(largest).float()

    def costs(self, steps: int) -> Costs:
        """The cost of effort less the reward of speed."""
        weight = self.settings.effort_weight

        def of(trajectories: Trajectories) -> Tensor:
            speed = poses_of(trajectories)[..., 0].diff(dim=-1) / self.interval
            return weight * (trajectories.actions / self._largest).square().sum(-1) - speed

        return of

    def _measure(self, pose: Tensor, before: Tensor | None, elapsed: float) -> dict[str, float]:
        speed = np.nan if before is None else float(pose[0] - before[0]) / elapsed
        effort = float((self._action / self._largest).square().sum())
        values = (speed, float(pose[0]), self.settings.effort_weight * effort - speed)
        return dict(zip(self.figures, values, strict=True))
