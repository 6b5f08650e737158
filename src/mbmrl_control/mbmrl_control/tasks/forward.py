"""The task to move forward as fast as effort allows, as in the simulated tasks of Nagabandi, Clavera et al., ICLR 2019.

There the reward of a step is the speed along x less a share of the squared actions (appendix); here the cost is its
negative, actions count as shares of their bounds, and a tilt costs something: a body on its back goes nowhere.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.description import Pose
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
    upright_weight: float = runtime_field(
        2.0, 0.0, 1e4, "Cost of a body that lies on its side, in m/s, and half that of one on its back"
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
        body = robot.description.pose or Pose()
        self._angles = [
            (robot.state(angle[0]), True) if isinstance(angle, tuple) else (robot.state(angle), False)
            for angle in (body.roll, body.pitch)
            if angle is not None
        ]

    @property
    def sees_states(self) -> bool:  # type: ignore[override]
        """Whether a tilt counts, and is part of the states."""
        return bool(self.settings.upright_weight and self._angles)

    def _tilt(self, states: Tensor) -> Tensor:
        """1 less the cosine between the body's and the ground's vertical, shape (..., n) -> (...)."""
        upright = states.new_ones(states.shape[:-1])
        for place, is_cosine in self._angles:
            upright = upright * (states[..., place] if is_cosine else torch.cos(states[..., place]))
        return 1 - upright

    def costs(self, steps: int) -> Costs:
        """The costs of effort and of a tilt less the reward of speed."""
        effort_weight, upright_weight = self.settings.effort_weight, self.settings.upright_weight
        tilt_counts = self.sees_states  # as now: settings may change while it is planned

        def of(trajectories: Trajectories) -> Tensor:
            speed = poses_of(trajectories)[..., 0].diff(dim=-1) / self.interval
            cost = effort_weight * (trajectories.actions / self._largest).square().sum(-1) - speed
            if tilt_counts:
                cost = cost + upright_weight * self._tilt(trajectories.states[..., 1:, :])
            return cost

        return of

    def _measure(self, pose: Tensor, before: Tensor | None, elapsed: float) -> dict[str, float]:
        speed = np.nan if before is None else float(pose[0] - before[0]) / elapsed
        effort = float((self._action / self._largest).square().sum())
        tilt = float(self._tilt(self._state))
        cost = self.settings.effort_weight * effort + self.settings.upright_weight * tilt - speed
        return dict(zip(self.figures, (speed, float(pose[0]), cost), strict=True))
