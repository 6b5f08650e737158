"""Messages from and to what the bridge to a real robot uses; nothing else. Each number is cast to its field's type."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from geometry_msgs.msg import PoseStamped, Quaternion
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, Imu

from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.toolkit.conversions import (
    ODOM_FRAME,
    to_battery_state,
    to_header,
    to_imu,
    to_quaternion,
    to_roll_pitch_yaw,
)
from mbmrl_control.hardware.codecs.codec import Telemetry
from mbmrl_control.hardware.pose_checks import Pose


def at_time(observation: Observation, seconds: float) -> Observation:
    """The same observation on another clock, s."""
    return replace(observation, time=seconds)


def joint_angles(left: float, right: float) -> Array:
    """Angles of all joints, shape (8,), rad, of the leg cycles: the legs of a side are geared to its crank."""
    return np.array([left, right, left, left, left, right, right, right])


def to_measured_imu(observation: Observation, telemetry: Telemetry) -> Imu:
    """IMU message (REP 145) of a real robot, with acceleration where it is measured."""
    message = to_imu(observation)
    if np.isfinite(telemetry.acceleration).all():
        acceleration = message.linear_acceleration
        acceleration.x, acceleration.y, acceleration.z = map(float, telemetry.acceleration)
        message.linear_acceleration_covariance[0] = 0.0  # measured, accuracy unknown
    return message


def to_measured_battery(observation: Observation, telemetry: Telemetry) -> BatteryState:
    """Battery state of a real robot, with voltage and the motors' current where they are measured."""
    message = to_battery_state(observation)
    message.voltage = float(telemetry.battery)
    message.current = -float(sum(telemetry.current))  # negative when discharging
    return message


def to_pose_stamped(time: float, position: Array, angles: Array) -> PoseStamped:
    """Pose in the odom frame at a time in s: position, m, and roll, pitch and yaw, rad."""
    message = PoseStamped(header=to_header(time, ODOM_FRAME))
    place = message.pose.position
    place.x, place.y, place.z = map(float, position)
    message.pose.orientation = to_quaternion(*angles)
    return message


def from_pose(message: PoseStamped | Odometry, time: float) -> Pose:
    """Frame of motion capture of a message, at a time in s; with velocity where it is an Odometry.

    What its quaternion tells is that of the unit one with its direction; `Pose.norm` tells how far it was from that.
    """
    pose = message.pose if isinstance(message, PoseStamped) else message.pose.pose
    place = np.array([pose.position.x, pose.position.y, pose.position.z])
    told = np.array([getattr(pose.orientation, name) for name in "wxyz"])
    norm = float(np.linalg.norm(told))
    w, *xyz = (told / norm if norm else told).tolist()
    velocity = None
    if isinstance(message, Odometry):
        linear = message.twist.twist.linear
        v, axis = np.array([linear.x, linear.y, linear.z]), np.array(xyz)
        # The twist is in the child frame: turned by the orientation, it is in that of the pose.
        velocity = v + 2 * np.cross(axis, np.cross(axis, v) + w * v)
    angles = np.array(to_roll_pitch_yaw(Quaternion(w=w, **dict(zip("xyz", xyz, strict=True)))))
    return Pose(time, place, angles, velocity, norm)
