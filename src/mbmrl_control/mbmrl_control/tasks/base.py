"""The contract of a task: what a robot is to do, as a cost of predicted trajectories, and what is reported of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.dynamics.rollout import Trajectories


class Task(ABC):
    """What a robot is to do.

    A task sees each observation, so that it can follow the robot's progress; plans are judged by its costs.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type[NodeSettings]]
    """Its settings, each a parameter of the MPC node; those made by `runtime_field` can be set while it runs."""
    sees_states: ClassVar[bool] = True
    """Whether `costs` needs the states of trajectories; for those that need no more than poses, plans are quicker."""

    def __init__(self, robot: Robot, settings: NodeSettings, interval: float) -> None:
        """Take the robot, the settings, and the control interval, s.

        Raises:
            ValueError: If the robot cannot do it, such as to follow a path if it is not planar.
        """
        self.robot, self.settings, self.interval = robot, settings, interval

    @abstractmethod
    def reset(self) -> None:
        """Begin anew: with the next observation an episode starts."""

    @abstractmethod
    def observe(self, observation: Observation) -> dict[str, float]:
        """Take in an observation.

        Returns:
            Figures to report, by their names with units; NaN if not known. ``cost`` is that of the last step as
            executed.
        """

    @abstractmethod
    def costs(self, trajectories: Trajectories) -> Tensor:
        """Cost of each step of trajectories that start at the last observation, shape (n, H), dimensionless."""

    @property
    def stands(self) -> bool:
        """Whether the robot is to stand still: then nothing is planned, and its safe action is sent."""
        return False
