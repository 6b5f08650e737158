"""Messages from and to what the core uses; nothing else. As in `mbmrl_sim`, each number is cast to its field's type."""

from __future__ import annotations

import array
from dataclasses import replace

import numpy as np
import safetensors
import safetensors.torch
from geometry_msgs.msg import PoseStamped, Quaternion
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from sensor_msgs.msg import BatteryState, Imu

from mbmrl_control.hardware.codec import Telemetry
from mbmrl_control.hardware.pose_checks import Pose
from mbmrl_control.learners import Update
from mbmrl_control.learners.online import Adaptation
from mbmrl_control.planning.follower import Tracking
from mbmrl_msgs.msg import AdaptationStatus, AdaptedModel, PlannerStatus
from mbmrl_sim.conversions import (
    ODOM_FRAME,
    to_battery_state,
    to_header,
    to_imu,
    to_quaternion,
    to_roll_pitch_yaw,
)
from mbmrl_sim.state import Array, Observation


def to_adapted_model(adaptation: Adaptation, seconds: float, prior_hash: str, learner: str) -> AdaptedModel:
    """Message of an adaptation to observations up to a time in s."""
    update = adaptation.update
    content = safetensors.torch.save({name: t.contiguous() for name, t in update.items()}) if update else b""
    return AdaptedModel(
        header=to_header(seconds, ""),
        sequence=int(adaptation.sequence),
        state_sequence=int(adaptation.state_sequence),
        prior_hash=prior_hash,
        learner=learner,
        update=array.array("B", content),
    )


def from_adapted_model(message: AdaptedModel) -> Update:
    """Update of a message; empty where the prior itself is meant.

    Raises:
        ValueError: If the update is not in the safetensors format.
    """
    if not message.update:
        return {}
    try:
        return safetensors.torch.load(bytes(message.update))
    except (safetensors.SafetensorError, KeyError) as error:  # KeyError: a type that torch has not
        raise ValueError(f"an update is not in the safetensors format: {error}") from None


def to_adaptation_status(
    adaptation: Adaptation, seconds: float, capacity: int, duration: float, frozen: bool
) -> AdaptationStatus:
    """Message of how an adaptation went; its duration in s."""
    return AdaptationStatus(
        header=to_header(seconds, ""),
        sequence=int(adaptation.sequence),
        state_sequence=int(adaptation.state_sequence),
        window_length=int(adaptation.window),
        window_capacity=int(capacity),
        prior_error=float(adaptation.prior_error),
        adapted_error=float(adaptation.adapted_error),
        adaptation_time=float(duration),
        rejected=int(adaptation.rejected),
        skipped=int(adaptation.skipped),
        failed=int(adaptation.failed),
        frozen=frozen,
    )


def fill_tracking(status: PlannerStatus, tracking: Tracking) -> None:
    """Write where the robot is into a planner's status."""
    status.cross_track = float(tracking.cross_track)
    status.progress = float(tracking.progress)
    status.heading_error = float(tracking.heading_error)
    status.tracking_cost = float(tracking.cost)


def to_path(points: Array, headings: Array, seconds: float) -> PathMessage:
    """Path message in the odom frame of points, shape (n, 2), m, and headings, shape (n,), rad."""
    header = to_header(seconds, ODOM_FRAME)
    message = PathMessage(header=header)
    for (x, y), heading in zip(points, headings, strict=True):
        pose = PoseStamped(header=header)
        pose.pose.position.x, pose.pose.position.y = float(x), float(y)
        pose.pose.orientation = to_quaternion(0.0, 0.0, heading)
        message.poses.append(pose)
    return message


def path_start(message: PathMessage) -> Array:
    """x, y (m) and yaw (rad) of a path's first pose."""
    pose = message.poses[0].pose
    return np.array([pose.position.x, pose.position.y, to_roll_pitch_yaw(pose.orientation)[2]])


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
