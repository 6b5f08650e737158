"""Cost of following a path: distance from it, progress lost or gained, heading error (ICLR 2019, section 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mbmrl_control.tasks.path.paths import PathWindow, Projection


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
