"""The task to go to a goal and stand there."""

from __future__ import annotations

from typing import Annotated, Final

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mbmrl_base.robots.features import rotate, wrap
from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit.settings import RUNTIME, runtime_field
from mbmrl_control.tasks.base import Costs
from mbmrl_control.tasks.planar import PlanarTask, SpeedSettings, poses_of

_PROGRESS: Final = 20.0
"""Cost of a way towards the goal that is not covered, 1/m."""
_HEADING: Final = 4.0
"""Cost of looking elsewhere, 1/rad."""
_SLOWING: Final = 1.0
"""Time before the goal from which on the robot slows down, s."""
_LEAVES: Final = 2.0
"""Multiple of the tolerance from which on a robot that stood at the goal goes there again."""


class GoToGoalSettings(SpeedSettings):
    """Settings of `GoToGoal`."""

    goal: tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...] = Field(
        (0.0, 0.0),
        min_length=2,
        max_length=3,
        description="Where to go in odom: x and y, m, and the yaw to arrive with, rad, if it matters",
        json_schema_extra=RUNTIME,
    )
    goal_tolerance: float = runtime_field(0.05, 1e-3, 100.0, "Distance from the goal at which the robot stands, m")


class GoToGoal(PlanarTask[GoToGoalSettings]):
    """Goes to a goal, slows down, and stands within the tolerance; it arrives with the yaw as well as it can."""

    _arrived: bool
    _distance: float
    name = "go_to_goal"
    settings_type = GoToGoalSettings
    figures = ("distance_m", "heading_error_rad", "cost")

    def change(self, settings: GoToGoalSettings) -> bool:
        """Take another goal, speed or tolerance."""
        self._arrived = self._arrived and settings.goal == self.settings.goal
        return super().change(settings)

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self._arrived, self._distance = False, np.inf

    @property
    def stands(self) -> bool:
        """Whether the robot has arrived, or the wanted speed is 0."""
        return self._arrived or self.settings.speed == 0

    @property
    def remaining(self) -> float:
        """Distance from the goal; 0 within its tolerance."""
        return 0.0 if self._arrived else self._distance

    def _goal(self) -> tuple[Tensor, Tensor | None]:
        """The goal's place, shape (2,), and yaw in the task's frame."""
        frame = torch.from_numpy(np.zeros(3) if self.frame is None else self.frame)
        place = torch.tensor(self.settings.goal[:2], dtype=torch.float64) - frame[:2]
        yaw = torch.tensor(self.settings.goal[2]) - frame[2] if len(self.settings.goal) == 3 else None
        place = rotate(place, torch.cos(frame[2]), -torch.sin(frame[2])).float()
        return place, None if yaw is None else yaw.float()

    def costs(self, steps: int) -> Costs:
        """The cost of the way to the goal."""
        goal, speed = self._goal(), self.settings.speed
        return lambda trajectories: self._of_steps(poses_of(trajectories), *goal, speed, self.interval)

    def _of_steps(self, poses: Tensor, place: Tensor, yaw: Tensor | None, speed: float, interval: float) -> Tensor:
        to_goal = place - poses[..., :2]
        distance = to_goal.norm(dim=-1)
        slowest = min((self.robot.description.speed or (0.0, 0.0))[0], speed)
        wanted = (distance[..., :-1] / _SLOWING).clamp(slowest, speed) * interval
        lost = (wanted + distance.diff(dim=-1)).abs()
        if yaw is not None:
            # Half the way before the goal, so that the way there ends along the yaw.
            to_goal = to_goal - 0.5 * distance.unsqueeze(-1) * torch.stack([torch.cos(yaw), torch.sin(yaw)])
        error = wrap(torch.atan2(to_goal[..., 1], to_goal[..., 0]) - poses[..., 2])[..., 1:].abs()
        # Where to look is known the worse the nearer the goal is.
        near = torch.tanh(distance[..., 1:] / self.settings.goal_tolerance)
        costs: Tensor = _PROGRESS * lost + _HEADING * error * near
        return costs

    def _measure(self, pose: Tensor, before: Tensor | None, elapsed: float) -> dict[str, float]:
        place, yaw = self._goal()
        to_goal = place - pose[:2]
        distance, tolerance = float(to_goal.norm()), self.settings.goal_tolerance
        self._distance = distance
        self._arrived = distance <= tolerance * (_LEAVES if self._arrived else 1.0)
        wanted = torch.atan2(to_goal[1], to_goal[0]) if yaw is None else yaw
        cost = np.nan
        if before is not None:
            steps = torch.stack([before, pose])
            cost = 0.0 if self.stands else float(self._of_steps(steps, place, yaw, self.settings.speed, elapsed))
        return dict(zip(self.figures, (distance, float(wrap(pose[2] - wanted)), cost), strict=True))

    def reference(self) -> Array:
        """The goal; without a yaw it looks along x."""
        x, y, yaw = (*self.settings.goal, 0.0)[:3]
        return np.array([[x, y, yaw]])
