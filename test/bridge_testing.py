"""What drives the serial bridge in tests, as a ROS node would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from nav_msgs.msg import Odometry

from hardware_testing import Robot
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import to_motor_command, to_quaternion, to_time
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_msgs.msg import MotorCommand, RobotState
from ros_testing import NodeProcess, Peer

StartNode = Callable[..., NodeProcess]
NODE: Final = "serial_bridge_node"
ACTIVE, INACTIVE, UNCONFIGURED = (
    State.PRIMARY_STATE_ACTIVE,
    State.PRIMARY_STATE_INACTIVE,
    State.PRIMARY_STATE_UNCONFIGURED,
)


class Driver:
    """What tells the bridge to walk, and hears what it tells."""

    def __init__(self, peer: Peer, robot: Robot, start: StartNode) -> None:
        self.peer, self.robot, self._start = peer, robot, start
        self.states: list[Any] = peer.record(RobotState, "robot_state", qos.STATE)
        self.diagnostics: list[Any] = peer.record(DiagnosticArray, "/diagnostics", 100)
        self.number = 0
        self._commands = peer.node.create_publisher(MotorCommand, "motor_command", qos.LATEST)
        self._poses = peer.node.create_publisher(PoseStamped, "motion_capture/pose", qos.SENSOR)
        self._odometry = peer.node.create_publisher(Odometry, "motion_capture/odom", qos.SENSOR)
        self._timers: list[Any] = []

    def start(self, **parameters: Any) -> NodeProcess:
        """Start the bridge; a loaded machine may be slow, so that links are lost late."""
        given = {"port": self.robot.port, "protocol": self.robot.protocol, "lost_time": 3.0}
        self.bridge = self._start(NODE, **(given | parameters))
        return self.bridge

    def until(self, predicate: Callable[[], Any]) -> None:
        self.peer.spin_until(predicate, self.bridge)

    def walk(self, left: float = 30.0, right: float = 35.0, age: float = 0.0) -> None:
        """Give commands at 20 Hz from now on."""

        def tell() -> None:
            self.number += 1
            now = self.peer.node.get_clock().now().nanoseconds * 1e-9
            self._commands.publish(to_motor_command(MILLIROBOT, np.array([left, right]), now - age, self.number, 0))

        self._timers.append(self.peer.node.create_timer(0.05, tell))

    def stand(self) -> None:
        """Give no more commands."""
        while self._timers:
            self.peer.node.destroy_timer(self._timers.pop())

    def capture(self, x: float, odometry: bool = False) -> None:
        """Tell poses that advance by 0.2 m/s, at 100 Hz."""

        def tell() -> None:
            now = self.peer.node.get_clock().now().nanoseconds * 1e-9
            message = Odometry() if odometry else PoseStamped()
            message.header.stamp = to_time(now)
            pose = message.pose.pose if odometry else message.pose
            pose.position.x, pose.position.y, pose.position.z = x + 0.2 * (now - start), 2.0, 0.02
            pose.orientation = to_quaternion((0.0, 0.0, 1.0))
            if odometry:
                message.twist.twist.linear.x = 0.3  # in the body's frame
            (self._odometry if odometry else self._poses).publish(message)

        start = self.peer.node.get_clock().now().nanoseconds * 1e-9
        self._timers.append(self.peer.node.create_timer(0.01, tell))

    def change(self, transition: int) -> bool:
        return self.peer.change(transition, self.bridge)

    def state(self) -> int:
        return int(self.peer.call(GetState, f"{NODE}/get_state", self.bridge).current_state.id)

    def part(self, name: str) -> Any:
        """Newest diagnostics of a part."""
        if not self.diagnostics:
            return None
        return next(status for status in self.diagnostics[-1].status if status.name == f"{NODE}: {name}")

    def level(self, name: str) -> int:
        part = self.part(name)
        return -1 if part is None else int.from_bytes(part.level)
