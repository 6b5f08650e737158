"""Messages from and to what the bridge to a real robot uses; nothing else. Each number is cast to its field's type."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, Imu

from mbmrl_base.robots import rotations
from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit.conversions import ODOM_FRAME, to_header, to_quaternion
from mbmrl_control.hardware.pose import CAPTURED
from mbmrl_control.hardware.pose_checks import Pose
from mbmrl_control.hardware.state_builder import Reading

RECKONED_VARIANCE: Final = 1e3
"""Variance of a position, m^2, and of a yaw angle, rad^2, that are not measured."""


def amend(reading: Reading, message: Any) -> None:
    """Add what is known of a real robot to a message about it: what was measured beside the state, and how well."""
    telemetry = reading.telemetry
    if isinstance(message, Odometry) and reading.source != CAPTURED:
        message.pose.covariance[[0, 7, 35]] = RECKONED_VARIANCE
    elif isinstance(message, Imu) and np.isfinite(telemetry.acceleration).all():
        acceleration = message.linear_acceleration
        acceleration.x, acceleration.y, acceleration.z = map(float, telemetry.acceleration)
        message.linear_acceleration_covariance[0] = 0.0  # measured, accuracy unknown
    elif isinstance(message, BatteryState):
        message.voltage = float(telemetry.battery)
        message.current = -float(sum(telemetry.current))  # negative when discharging


def to_pose_stamped(time: float, position: Array, angles: Array) -> PoseStamped:
    """Pose in the odom frame at a time in s: position, m, and roll, pitch and yaw, rad."""
    message = PoseStamped(header=to_header(time, ODOM_FRAME))
    place = message.pose.position
    place.x, place.y, place.z = map(float, position)
    message.pose.orientation = to_quaternion(angles)
    return message


def from_pose(message: PoseStamped | Odometry, time: float) -> Pose:
    """Frame of motion capture of a message, at a time in s; with velocity if it is an Odometry.

    Its angles are those of the unit quaternion with its direction; `Pose.norm` is the norm that it had.
    """
    pose = message.pose if isinstance(message, PoseStamped) else message.pose.pose
    place = np.array([pose.position.x, pose.position.y, pose.position.z])
    given = np.array([getattr(pose.orientation, name) for name in "wxyz"])
    norm = float(np.linalg.norm(given))
    angles = np.array(rotations.roll_pitch_yaw(*(given / norm if norm else given).tolist()))
    velocity = None
    if isinstance(message, Odometry):
        linear = message.twist.twist.linear
        # The twist is in the child frame.
        velocity = rotations.matrix(angles) @ [linear.x, linear.y, linear.z]
    return Pose(time, place, angles, velocity, norm)
