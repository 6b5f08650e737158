"""The task to follow a path: paths, and the cost of ICLR 2019, section 6.2."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.system.yaml_text import parse, read_text
from mbmrl_base.toolkit.settings import runtime_field, runtime_text
from mbmrl_control.tasks.base import Costs
from mbmrl_control.tasks.planar import PlanarTask, SpeedSettings, poses_of

SPACING: Final = 0.01
"""Distance between the points of a path, m."""
OPEN_LENGTH: Final = 60.0
"""Length of the paths that are not closed, m."""
LONGEST: Final = 1e3
"""Length that a path of points may have, m."""
RADIUS: Final = 0.7
"""Radius of the curves, m."""
ZIGZAG_LEG: Final = 0.6
"""Distance between the turns of the zigzag, m."""
ZIGZAG_ANGLE: Final = np.radians(25.0)
"""Angle of the zigzag's legs to its mean direction, rad."""
_REACH: Final = 0.15
"""How far from the last progress the robot is looked for, m."""


@dataclass(frozen=True)
class Projection:
    """Nearest points of a path; each of the shape of the positions without their last dimension.

    Attributes:
        cross_track: Signed distance from the path, m, positive to its left.
        progress: Distance along the path, m.
        heading: Direction of the path, rad, unwrapped along it.
    """

    cross_track: Tensor
    progress: Tensor
    heading: Tensor


@dataclass(frozen=True)
class PathWindow:
    """A stretch of n points of a path: points (n, 2) in m, headings (n,) in rad, progress (n,) in m."""

    points: Tensor
    headings: Tensor
    progress: Tensor

    def project(self, positions: Tensor) -> Projection:
        """Project positions, shape (..., 2), to the nearest point, refined along its tangent."""
        flat = positions.reshape(-1, 2)
        # |p - q|^2 without |p|^2, which does not change the order of the points q.
        distances = torch.addmm(self.points.square().sum(1), flat, self.points.T, alpha=-2.0)
        nearest = distances.argmin(1)
        heading = self.headings[nearest]
        offset = flat - self.points[nearest]
        cosine, sine = torch.cos(heading), torch.sin(heading)
        along = cosine * offset[:, 0] + sine * offset[:, 1]
        across = cosine * offset[:, 1] - sine * offset[:, 0]
        shape = positions.shape[:-1]
        progress = self.progress[nearest] + along
        return Projection(across.reshape(shape), progress.reshape(shape), heading.reshape(shape))


@dataclass(frozen=True, eq=False)
class ReferencePath:
    """A path as points at equal distances; a closed one is followed lap after lap.

    Attributes:
        points: Shape (n, 2), m.
        headings: Unwrapped, shape (n,), rad.
        closed: Whether the end is the start.
    """

    points: Array
    headings: Array
    closed: bool

    @property
    def length(self) -> float:
        """Length of the path, or of one lap, m."""
        return (len(self.points) if self.closed else len(self.points) - 1) * SPACING

    @property
    def whole(self) -> float:
        """Reach within which each point of the path lies, whatever the progress, m."""
        return self.length / 2 if self.closed else self.length

    def window(self, start: float, stop: float) -> PathWindow:
        """The stretch between two values of the progress, m; an open path ends at its ends.

        It is as long as the longest path at most, however far apart the values are.
        """
        first, last = math.floor(start / SPACING), math.ceil(stop / SPACING)
        if not self.closed:
            first, last = (min(max(index, 0), len(self.points) - 1) for index in (first, last))
        indices = np.arange(first, min(last, first + round(LONGEST / SPACING)) + 1)
        if self.closed:
            laps, rows = np.divmod(indices, len(self.points))
            # A lap of the circle turns by a whole turn; the headings go on counting.
            turn = 2 * np.pi * round((self.headings[-1] - self.headings[0]) / (2 * np.pi))
            headings = self.headings[rows] + laps * turn
        else:
            rows, headings = indices, self.headings[indices]
        return PathWindow(
            torch.as_tensor(self.points[rows], dtype=torch.float32),
            torch.as_tensor(headings, dtype=torch.float32),
            torch.as_tensor(indices * SPACING, dtype=torch.float32),
        )

    def locate(self, position: Array, progress: float, reach: float = _REACH) -> Projection:
        """Project a position, shape (2,), near a known progress, m.

        A path may cross itself: only the stretch within reach of the last progress is looked at.
        """
        window = self.window(progress - reach, progress + reach)
        return window.project(torch.as_tensor(position, dtype=torch.float32))


def _circles(*turns: float) -> ReferencePath:
    """Circles from the origin along x, one after the other: whole turns in rad, positive to the left."""
    points, headings, start = [], [], 0.0
    for turn in turns:
        count = round(RADIUS * abs(turn) / SPACING)
        turned, radius = np.arange(count) * (turn / count), np.copysign(RADIUS, turn)
        points.append(np.stack([radius * np.sin(turned), radius * (1 - np.cos(turned))], axis=1))
        headings.append(start + turned)
        start += turn
    return ReferencePath(np.concatenate(points), np.concatenate(headings), closed=True)


def _legs(length: float, *directions: float) -> ReferencePath:
    """Straight legs of a length, m, from the origin on, each in a direction, rad."""
    points, headings, start = [], [], np.zeros(2)
    distance = np.arange(round(length / SPACING)) * SPACING
    for direction in directions:
        ahead = np.array([np.cos(direction), np.sin(direction)])
        points.append(start + np.outer(distance, ahead))
        headings.append(np.full(len(distance), direction))
        start = start + length * ahead
    return ReferencePath(np.concatenate(points), np.concatenate(headings), closed=False)


_PATHS: Final[dict[str, Callable[[], ReferencePath]]] = {
    "straight": partial(_legs, OPEN_LENGTH, 0.0),
    "left": partial(_circles, 2 * np.pi),
    "right": partial(_circles, -2 * np.pi),
    "zigzag": partial(_legs, ZIGZAG_LEG, *[-ZIGZAG_ANGLE, ZIGZAG_ANGLE] * round(OPEN_LENGTH / ZIGZAG_LEG / 2)),
    "figure_eight": partial(_circles, 2 * np.pi, -2 * np.pi),
}
PATH_NAMES: Final = tuple(_PATHS)


def make_path(name: str) -> ReferencePath:
    """A path from the origin along x by its name, or along the lines between points; closed if it ends at its start.

    Args:
        name: One of PATH_NAMES; or a file, ``*.csv`` with lines of x,y, or ``*.yaml`` with a list of [x, y], m; or
            such a list as text.

    Raises:
        ValueError: If there is none.
    """
    if name in _PATHS:
        return _PATHS[name]()
    file = Path(name).expanduser()
    listed = name.startswith("[")
    if not listed and file.suffix not in (".csv", ".yaml", ".yml"):
        raise ValueError(f"unknown path {name!r}: allowed is {', '.join(PATH_NAMES)}, or a file, *.csv or *.yaml")
    source = "the list of points" if listed else str(file)
    try:
        text = name if listed else read_text(file)
        if listed:  # of thousands of points, which YAML takes a second for
            points = np.array(json.loads(text), dtype=np.float64)
        elif file.suffix == ".csv":
            rows = [row for row in csv.reader(text.splitlines()) if row]
            points = np.array(rows[1:] if rows and rows[0][0].strip() == "x" else rows, dtype=np.float64)
        else:
            points = np.array(parse(text), dtype=np.float64)
    except OSError as error:
        raise ValueError(f"{file}: {(error.strerror or str(error)).lower()}") from None
    except (ArithmeticError, RecursionError, TypeError, ValueError, csv.Error):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < 2 or not (np.abs(points) < 1e15).all():
        raise ValueError(f"{source} holds no path: wanted are 2 points or more, each a finite x and y in m")
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    if not SPACING < along[-1] <= LONGEST:
        raise ValueError(f"{source} is a path of {along[-1]:g} m: allowed is above {SPACING:g} to {LONGEST:g}")
    closed = bool(np.linalg.norm(points[-1] - points[0]) < SPACING)
    distance = np.arange(0.0, along[-1] - (SPACING / 2 if closed else 0.0), SPACING)
    even = np.column_stack([np.interp(distance, along, column) for column in points.T])
    to_next = np.diff(np.concatenate([even, even[:1] if closed else points[-1:]]), axis=0)
    if not closed and not to_next[-1].any():
        to_next[-1] = to_next[-2]
    return ReferencePath(even, np.unwrap(np.arctan2(to_next[:, 1], to_next[:, 0])), closed)


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
        PATH_NAMES,
    )
    distance_weight: float = runtime_field(
        PathCost.distance, 0.0, 1e4, "Cost of distance from the path, 1/m", tuned=(5, 500)
    )
    progress_weight: float = runtime_field(PathCost.progress, 0.0, 1e4, "Cost of progress lost, 1/m", tuned=(2, 200))
    heading_weight: float = runtime_field(
        PathCost.heading, 0.0, 1e4, "Cost of the heading error, 1/rad", tuned=(0.4, 40)
    )


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

    def change(self, settings: FollowPathSettings) -> bool:
        """Take other weights or another speed."""
        return settings.path == self.settings.path and super().change(settings)

    def reset(self) -> None:
        """Let the path start at the next observation."""
        super().reset()
        self.frame = self._start
        self.progress = 0.0
        """Distance covered along the path, m."""
        self._beginning: float | None = None
        self._beside = 0.0

    @property
    def cost(self) -> PathCost:
        """The cost that the settings make."""
        given = self.settings
        return PathCost(given.distance_weight, given.progress_weight, given.heading_weight, given.speed)

    @property
    def stands(self) -> bool:
        """Whether the wanted speed is 0, or the robot is at the end of an open path."""
        return self.settings.speed == 0 or (not self.path.closed and self.progress >= self.path.length)

    @property
    def remaining(self) -> float:
        """Way to the end of the path, of a closed one to that of the first lap."""
        begun = self._beginning or 0.0 if self.path.closed else 0.0
        return self.path.length + begun - self.progress

    @property
    def missed(self) -> float:
        """Distance from the path."""
        return self._beside

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
        self._beside = abs(float(projection.cross_track))
        if self._beginning is None:
            self._beginning = self.progress
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
