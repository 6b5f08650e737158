"""A wheeled base that knows nothing of this project: takes cmd_vel, and publishes odom at 50 Hz. Run by tests."""

from __future__ import annotations

import math
from contextlib import suppress

import rclpy
from geometry_msgs.msg import Twist
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

PERIOD = 0.02
FORGETS = 0.5
"""Time without a command after which it stops, s, as most bases do."""


class Rover(Node):
    """Follows its commands with a delay."""

    def __init__(self) -> None:
        super().__init__("rover")
        self._odom = self.create_publisher(Odometry, "odom", 10)
        self.create_subscription(Twist, "cmd_vel", self._take, 10)
        self._x = self._y = self._yaw = self._forward = self._turning = 0.0
        self._wanted, self._left = (0.0, 0.0), 0.0
        self.create_timer(PERIOD, self._move)

    def _take(self, message: Twist) -> None:
        self._wanted, self._left = (message.linear.x, message.angular.z), FORGETS

    def _move(self) -> None:
        self._left -= PERIOD
        speed, turn_rate = self._wanted if self._left > 0 else (0.0, 0.0)
        self._forward += 0.1 * (speed - self._forward)
        self._turning += 0.2 * (turn_rate - self._turning)
        self._yaw += PERIOD * self._turning
        self._x += PERIOD * self._forward * math.cos(self._yaw)
        self._y += PERIOD * self._forward * math.sin(self._yaw)
        message = Odometry()
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = "odom"
        message.pose.pose.position.x, message.pose.pose.position.y = self._x, self._y
        message.pose.pose.orientation.z = math.sin(self._yaw / 2)
        message.pose.pose.orientation.w = math.cos(self._yaw / 2)
        message.twist.twist.linear.x, message.twist.twist.angular.z = self._forward, self._turning
        self._odom.publish(message)


def main() -> None:
    """Drive until the process is ended."""
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(Rover())


if __name__ == "__main__":
    main()
