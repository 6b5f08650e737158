"""The contract of a task: what a robot is to do, as a cost of predicted trajectories, and what is reported of it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from torch import Tensor

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.dynamics.rollout import Trajectories

Costs = Callable[[Trajectories], Tensor]
"""Cost of each step of trajectories, shape (n, H), dimensionless; threads call it at the same time."""
Settings = TypeVar("Settings", bound=NodeSettings)


class Task(ABC, Generic[Settings]):
    """What a robot is to do.

    A task sees each observation, so that it can follow the robot's progress; plans are judged by its costs.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[Any]] = NodeSettings
    """Its settings, each a parameter of the MPC node; those that are marked as such can be set while it runs."""
    figures: ClassVar[tuple[str, ...]] = ("cost",)
    """Names, with units, of what `observe` returns; of those with ``error`` in them, the size is judged."""
    sees_states: ClassVar[bool] = True
    """Whether costs need the states of trajectories; for those that need no more than poses, plans are quicker."""

    def __init__(self, robot: Robot, settings: Settings, interval: float) -> None:
        """Take the robot, the settings, and the control interval, s.

        Raises:
            ValueError: If the robot cannot do it, such as to follow a path if it is not planar.
        """
        self.robot, self.settings, self.interval = robot, settings, interval
        self.frame: Array | None = None
        """Planar pose, x, y (m) and yaw (rad), of the frame in which trajectories are; None: that of the states."""
        self.reset()

    def change(self, settings: Settings) -> bool:
        """Take other settings, which `__init__` takes too; returns False if the task has to begin anew for them."""
        self.settings = settings
        return True

    @abstractmethod
    def reset(self) -> None:
        """Begin anew: with the next observation an episode starts."""

    @abstractmethod
    def observe(self, observation: Observation) -> dict[str, float] | None:
        """Take in an observation.

        Returns:
            Figures to report, by the names of `figures`; NaN if not known. ``cost`` is that of the last step as
            executed. None if the observation cannot be believed: then the robot takes its safe action.
        """

    @abstractmethod
    def costs(self, steps: int) -> Costs:
        """The cost of plans from the last observation on, which end this number of steps after it."""

    @property
    def stands(self) -> bool:
        """Whether the robot is to stand still: then nothing is planned, and its safe action is sent."""
        return False

    @property
    def remaining(self) -> float:
        """Way that is left to the end, m; 0 or less once it is reached, NaN if there is none."""
        return math.nan

    @property
    def missed(self) -> float:
        """Distance at which the robot passed by the end, once no way is left, m."""
        return 0.0

    def reference(self) -> Array | None:
        """Planar poses to show as the reference, shape (n, 3), in the frame of the states; None if there are none."""
        return None

    def to_states(self, poses: Array) -> Array:
        """Poses, shape (n, 3), from the task's frame to that of the states."""
        x, y, yaw = np.zeros(3) if self.frame is None else self.frame
        cosine, sine = np.cos(yaw), np.sin(yaw)
        turned = poses[:, :2] @ np.array([[cosine, sine], [-sine, cosine]])
        return np.column_stack([turned + np.array([x, y]), poses[:, 2] + yaw])
