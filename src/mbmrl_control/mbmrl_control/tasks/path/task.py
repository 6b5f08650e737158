"""Following a path, at the cost of ICLR 2019, section 6.2: distance, progress lost or gained, heading error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import runtime_field, runtime_text
from mbmrl_control.tasks.base import Costs
from mbmrl_control.tasks.path.paths import PATH_NAMES, PathWindow, Projection, ReferencePath, make_path
from mbmrl_control.tasks.planar import PlanarTask, SpeedSettings, check_speed, poses_of

_REACH: Final = 0.15
"""How far from the last progress the robot is looked for, m."""


@dataclass(frozen=True)
class PathCost:
    """Weights of the cost of one step; the cost itself is dimensionless.

    Attributes:
        distance: Weight of the distance from the path, 1/m.
        progress: Weight of the difference between the progress and that at the wanted speed, 1/m: a robot that
            runs ahead of it has less control left.
        heading: Weight of the heading error, 1/rad.
        speed: Wanted speed along the path, m/s.
        reach: Distance from the path, m, beyond which more of it hardly costs more.
        lookahead: Beside the path the wanted heading is that to the point of it this far ahead, m. Both let a
            robot that is far off turn back, although no plan brings it nearer within the horizon.
    """

    distance: float = 50.0
    progress: float = 20.0
    heading: float = 4.0
    speed: float = 0.2
    reach: float = 0.05
    lookahead: float = 0.1

    def steps(self, window: PathWindow, poses: Tensor, interval: float) -> Tensor:
        """Cost of each step of trajectories.

        Args:
            window: The stretch of path on which the poses lie.
            poses: Poses at the start and after each of H steps, shape (..., H + 1, 3): x, y in m, yaw in rad.
            interval: Length of a step, s.

        Returns:
            Costs, shape (..., H).
        """
        projection = window.project(poses[..., :2])
        after = Projection(projection.cross_track[..., 1:], projection.progress[..., 1:], projection.heading[..., 1:])
        return self.of_step(after, projection.progress.diff(dim=-1), poses[..., 1:, 2], interval)

    def of_step(self, projection: Projection, advance: Tensor, yaw: Tensor, interval: float) -> Tensor:
        """Cost of single steps, all of shape (...): where they end, m they advance along the path, and yaw, rad."""
        deviation = (self.speed * interval - advance).abs()
        offset = projection.cross_track
        error = yaw - projection.heading + torch.atan(offset / self.lookahead)
        error = torch.atan2(torch.sin(error), torch.cos(error)).abs()
        distance = self.reach * torch.tanh(offset.abs() / self.reach) + 0.0 * offset  # what is not finite stays so
        return self.distance * distance + self.progress * deviation + self.heading * error


class FollowPathSettings(SpeedSettings):
    """Settings of `FollowPath`."""

    path: str = runtime_text(
        "figure_eight",
        f"Path to follow: {', '.join(PATH_NAMES)}, or a file of points, *.csv or *.yaml; or points in odom, m, such as"
        " [[0, 0], [1, 0]]",
    )
    distance_weight: float = runtime_field(PathCost.distance, 0.0, 1e4, "Cost of distance from the path, 1/m")
    progress_weight: float = runtime_field(PathCost.progress, 0.0, 1e4, "Cost of progress lost, 1/m")
    heading_weight: float = runtime_field(PathCost.heading, 0.0, 1e4, "Cost of the heading error, 1/rad")


class FollowPath(PlanarTask[FollowPathSettings]):
    """Follows a path at a wanted speed; a path by name or file starts where the robot stood at first."""

    name = "follow_path"
    settings_type = FollowPathSettings
    figures = ("cross_track_m", "progress_m", "heading_error_rad", "cost")

    def __init__(self, robot: Robot, settings: FollowPathSettings, interval: float) -> None:
        """Take the robot, the settings, and the control interval, s."""
        self.path: ReferencePath = make_path(settings.path)
        # Points that are given as such are in the frame of the states.
        self._start = np.zeros(3) if settings.path.startswith("[") else None
        super().__init__(robot, settings, interval)
        check_speed(robot, "speed", settings.speed)

    def change(self, settings: FollowPathSettings) -> bool:
        """Take other weights or another speed."""
        return settings.path == self.settings.path and super().change(settings)

    def reset(self) -> None:
        """Let the path start at the next observation."""
        super().reset()
        self.frame = self._start
        self.progress = 0.0
        """Distance covered along the path, m."""

    @property
    def cost(self) -> PathCost:
        """The cost that the settings make."""
        given = self.settings
        return PathCost(given.distance_weight, given.progress_weight, given.heading_weight, given.speed)

    @property
    def stands(self) -> bool:
        """Whether the wanted speed is 0, or the robot is at the end of an open path."""
        return self.settings.speed == 0 or (not self.path.closed and self.progress >= self.path.length)

    def costs(self, steps: int) -> Costs:
        """The cost along the stretch of path that can be reached."""
        cost, reach = self.cost, 2.0 * self.settings.speed * self.interval * steps
        window = self.path.window(self.progress - _REACH, self.progress + reach + _REACH)

        return lambda trajectories: cost.steps(window, poses_of(trajectories), self.interval)

    def _measure(self, pose: Tensor, before: Tensor | None, elapsed: float) -> dict[str, float]:
        anywhere = self._moved or (self._start is not None and self._last is None)
        reach = self.path.whole if anywhere else _REACH
        projection = self.path.locate(pose[:2].numpy(), self.progress, reach)
        last, self.progress = self.progress, float(projection.progress)
        cost = np.nan
        if before is not None:
            window = self.path.window(min(last, self.progress) - _REACH, max(last, self.progress) + _REACH)
            cost = float(self.cost.steps(window, torch.stack([before, pose]), elapsed))
        error = float(pose[2] - projection.heading)
        wrapped = float(np.arctan2(np.sin(error), np.cos(error)))
        return dict(zip(self.figures, (float(projection.cross_track), self.progress, wrapped, cost), strict=True))

    def reference(self) -> Array:
        """Poses along the path, shape (n, 3), in the frame of the states."""
        return self.to_states(np.column_stack([self.path.points, self.path.headings]))
