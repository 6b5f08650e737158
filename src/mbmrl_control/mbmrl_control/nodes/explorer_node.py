"""Commands random actions in place of a planner, so that a robot is got to know."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from pydantic import Field
from rclpy.node import Node

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, load_robot
from mbmrl_base.robots.observation import Array
from mbmrl_base.robots.robot import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_robot_state, to_motor_command
from mbmrl_base.toolkit.health import Level
from mbmrl_base.toolkit.parameters import declare
from mbmrl_base.toolkit.settings import ROBOT, SEED, NodeSettings
from mbmrl_base.toolkit.sole import SoleSubscription, claim
from mbmrl_base.toolkit.spin import run
from mbmrl_control.control.exploration import RandomActions
from mbmrl_msgs.msg import MotorCommand, RobotState

PATIENCE: Final = 10.0
"""Time for which something may be wrong before there is nothing to explore, s."""
_RECORDING: Final = "recorder_node: recording"


class ExplorerSettings(NodeSettings):
    """Parameters of the explorer."""

    robot: str = Field(DEFAULT_ROBOT, description=ROBOT)
    seed: int = Field(0, ge=0, le=2**31 - 1, description=SEED)
    reach: float = Field(
        1.0, ge=0.01, le=1.0, description="Share of the range of each action that is used, about its middle"
    )
    longest_hold: float = Field(1.0, ge=0.02, le=60.0, description="Longest time for which an action is held, s")

    def check(self) -> Robot:
        """As of `NodeSettings`."""
        robot = load_robot(self.robot)
        RandomActions(robot, np.random.default_rng(0))
        return robot


class ExplorerNode(Node):
    """Answers each state with a command: without states nothing is commanded, and the robot takes its safe action."""

    def __init__(self) -> None:
        """Begin.

        Raises:
            ValueError: If a parameter is refused, or somebody else commands the robot.
        """
        super().__init__("explorer_node", automatically_declare_parameters_from_overrides=True)
        settings = declare(self, ExplorerSettings)
        self._robot = settings.check()
        hold = max(1, round(settings.longest_hold * self._robot.description.rate))
        self._actions = RandomActions(self._robot, np.random.default_rng(settings.seed), hold, settings.reach)
        self._sequence = 0
        self._held = claim(self, "motor_command", "planner")
        self._commands = self.create_publisher(MotorCommand, "motor_command", qos.LATEST)
        self._states = SoleSubscription(self, RobotState, "robot_state", self._take, qos.STATE)
        self.over = ""
        """Why nothing more is to be done."""
        self._wrong: dict[str, float] = {}
        """Parts of diagnostics that are wrong, and since when, s of the steady clock."""
        self._commanded = False
        self.create_subscription(DiagnosticArray, "/diagnostics", self._hear, qos.STATE)
        self.get_logger().info(f"random actions, seed {settings.seed}")

    def close(self) -> None:
        """Leave the robot with its safe action."""
        self._send(self._robot.safe_action(), 0)
        self._held.close()

    def _hear(self, message: DiagnosticArray) -> None:
        """End when the robot says nothing, or is commanded by nobody any more, or nothing is recorded any more."""
        own, now = f"{self.get_namespace().strip('/')}/".lstrip("/"), time.monotonic()
        states, motors, recording = f"{own}topic_bridge_node: states", f"{own}topic_bridge_node: motors", _RECORDING
        for status in message.status:
            name, level = status.name, status.level[0]
            if name not in (states, motors, recording):
                continue
            self._commanded |= name == motors and level == Level.OK
            # A robot that has yet to be activated is waited for.
            if level == Level.OK or (level == Level.WARN and not (name == motors and self._commanded)):
                self._wrong.pop(name, None)
            elif now - self._wrong.setdefault(name, now) > PATIENCE or name == recording:
                self.over = f"exploring has ended: {status.message}"

    def _take(self, message: RobotState) -> None:
        observation = from_robot_state(self._robot, message)
        self._send(self._actions.next(observation.state), observation.sequence)

    def _send(self, action: Array, state_sequence: int) -> None:
        self._sequence += 1
        seconds = self.get_clock().now().nanoseconds * 1e-9
        self._commands.publish(to_motor_command(self._robot, action, seconds, self._sequence, state_sequence))


main = partial(run, ExplorerNode)

if __name__ == "__main__":
    sys.exit(main())
