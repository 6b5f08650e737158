"""A run, made of the messages of its nodes, as they come or as they were recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from nav_msgs.msg import Path as PathMessage
from rclpy.qos import QoSProfile

from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import check_message, from_robot_state
from mbmrl_control.control.run_record import Record, Tick, choice
from mbmrl_control.nodes.conversions import path_start
from mbmrl_control.nodes.settings import PlannerSettings
from mbmrl_control.tasks import Task
from mbmrl_msgs.msg import AdaptationStatus, FaultArray, PlannerStatus, RobotState
from mbmrl_sim.nodes.conversions import from_fault_array

TOPICS: Final[dict[str, tuple[Any, QoSProfile]]] = {
    "robot_state": (RobotState, qos.STATE),
    "planner_status": (PlannerStatus, qos.STATE),
    "adaptation_status": (AdaptationStatus, qos.STATE),
    "faults": (FaultArray, qos.LATCHED),
    "reference_path": (PathMessage, qos.LATCHED),
}
"""What a run is made of, by topic: types, and the quality of service to read them with."""
TOGETHER: Final = 1.0
"""Time within which faults are one event, s."""


class RunMessages:
    """Keeps a tick for each robot state, and the newest status of each node."""

    def __init__(self, robot: Robot) -> None:
        """Take the robot whose messages they are."""
        self.robot = robot
        self.ticks: list[Tick] = []
        """A tick for each robot state, in order; errors and times are in those of `record`."""
        self.planner: PlannerStatus | None = None
        self.adaptation: AdaptationStatus | None = None
        self.faults: tuple[Fault, ...] = ()
        """Faults in force."""
        self.first_faults: tuple[Fault, ...] = ()
        """Those that came first, together."""
        self.path_start: Array | None = None
        """x, y (m) and yaw (rad) of the first pose of the planner's path."""
        self.moved = threading.Event()
        """Set when the first command is in force."""
        # By the number of the state, which a status may overtake.
        self._planned: dict[int, PlannerStatus] = {}
        self._adapted: dict[int, AdaptationStatus] = {}
        self._last_command = 0
        self._takers: dict[str, Callable[[Any], None]] = {
            "robot_state": self._take_state,
            "planner_status": self._take_planner,
            "adaptation_status": self._take_adaptation,
            "faults": self._take_faults,
            "reference_path": self._take_path,
        }

    def take(self, topic: str, message: Any) -> None:
        """Take in a message of a topic of TOPICS.

        Raises:
            ValueError: If it is refused: it is of another version or robot.
        """
        self._takers[topic](message)

    def _take_state(self, message: RobotState) -> None:
        observation = from_robot_state(self.robot, message)
        fresh = message.command_sequence > self._last_command
        self._last_command = max(self._last_command, message.command_sequence)
        self.ticks.append(Tick(observation, commanded=fresh, faults=tuple(map(str, self.faults))))
        if fresh:
            self.moved.set()

    def _take_planner(self, message: PlannerStatus) -> None:
        check_message(message, self.robot.name)
        self.planner = self._planned[message.state_sequence] = message

    def _take_adaptation(self, message: AdaptationStatus) -> None:
        check_message(message, self.robot.name)
        self.adaptation = self._adapted[message.state_sequence] = message

    def _take_faults(self, message: FaultArray) -> None:
        self.faults = from_fault_array(message)
        first = [*self.first_faults, *(fault for fault in self.faults if fault not in self.first_faults)]
        self.first_faults = tuple(fault for fault in first if fault.since - first[0].since < TOGETHER)

    def _take_path(self, message: PathMessage) -> None:
        self.path_start = path_start(message)

    def record(self, planner: PlannerSettings, fault: str | None, fault_time: float | None) -> Record:
        """The run so far, from the last state before the first command came into force.

        Args:
            planner: Settings of the planner.
            fault: The fault that was asked for, as of `FaultPlan`.
            fault_time: ROS time at which it came, s.
        """
        ticks = list(self.ticks)
        moving = next((index for index, tick in enumerate(ticks) if tick.commanded), 0)
        ticks = ticks[max(0, moving - 1) :]
        for tick in ticks:
            if (plan := self._planned.get(tick.observation.sequence)) is not None:
                tick.planning_time = plan.planning_time
            if (status := self._adapted.get(tick.observation.sequence)) is not None:
                tick.prior_error, tick.adapted_error = status.prior_error, status.adapted_error
                tick.adaptation_time = status.adaptation_time
        task = planner.make_task(self.robot)
        return Record(
            self.robot,
            planner.learner,
            choice(planner.task or task.name, task.settings),
            choice(planner.planner, planner.sampling),
            planner.seed,
            planner.rate,
            fault,
            None if fault_time is None else fault_time - ticks[0].observation.time,
            ticks,
            frame_of(task, self.path_start),
        )


def frame_of(task: Task[Any], start: Array | None) -> Array | None:
    """The frame of a task, as of `Task.frame`, whose reference starts at a planar pose; None if that is not known."""
    reference = task.reference()
    if start is None or reference is None:
        return None
    task.frame = np.array([0.0, 0.0, start[2] - reference[0, 2]])
    return np.asarray(start - task.to_states(reference[:1])[0] + task.frame)
