"""Messages from and to what the core uses; nothing else.

A number that is not of exactly its field's type, an int where a float is due or a scalar of numpy's, aborts
the process in the middleware's C code: each goes through ``float()`` or ``int()``.
"""

from __future__ import annotations

import array
import math
import platform
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, Quaternion, TransformStamped, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, Imu, JointState
from std_msgs.msg import Header

from mbmrl_base.robots import rotations
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Body, Robot
from mbmrl_base.toolkit.health import Part
from mbmrl_msgs.msg import MotorCommand, RobotDescription, RobotState

MessageT = TypeVar("MessageT", bound=Any)
ODOM_FRAME = "odom"
BASE_FRAME = "base_link"
IMU_FRAME = "imu_link"


def to_time(seconds: float) -> Time:
    """Time message of a time in s."""
    nanoseconds = round(float(seconds) * 1e9)
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def to_seconds(stamp: Time) -> float:
    """Time in s of a time message."""
    return float(stamp.sec + stamp.nanosec * 1e-9)


def to_header(seconds: float, frame: str) -> Header:
    """Header of a time in s and a frame."""
    return Header(stamp=to_time(seconds), frame_id=frame)


def with_prefix(message: MessageT, prefix: str) -> MessageT:
    """The message, with a prefix such as "robot1/" before the names of its frames."""
    if prefix:
        parts = getattr(message, "markers", None) or [message, *getattr(message, "poses", ())]
        for header in {id(part.header): part.header for part in parts}.values():  # they may share one
            header.frame_id = prefix + header.frame_id if header.frame_id else ""
        if hasattr(message, "child_frame_id"):
            message.child_frame_id = prefix + message.child_frame_id
    return message


def to_quaternion(angles: Iterable[float]) -> Quaternion:
    """Quaternion of roll, pitch and yaw, rad, about fixed axes (REP 103)."""
    return Quaternion(**dict(zip("wxyz", rotations.quaternion(map(float, angles)), strict=True)))


def to_roll_pitch_yaw(quaternion: Quaternion) -> tuple[float, float, float]:
    """Roll, pitch and yaw, rad, of a unit quaternion."""
    return rotations.roll_pitch_yaw(quaternion.w, quaternion.x, quaternion.y, quaternion.z)


def _vector(values: Array) -> Vector3:
    return Vector3(x=float(values[0]), y=float(values[1]), z=float(values[2]))


def to_robot_description(robot: Robot) -> RobotDescription:
    """Message of what the numbers of a robot's states and commands mean."""
    return RobotDescription(
        robot=robot.name,
        state_names=list(robot.state_names),
        state_units=list(robot.state_units),
        angles=[state.name for state in robot.description.states if state.angle],
        action_names=list(robot.action_names),
        action_units=list(robot.action_units),
        action_low=array.array("d", robot.low),
        action_high=array.array("d", robot.high),
    )


def check_message(message: Any, robot: str = "") -> None:
    """Refuse one of the project's messages that is of another version, or names another robot than this one.

    Raises:
        ValueError: If it is; its text says what is wrong.
    """
    if message.version != message.VERSION:
        raise ValueError(f"it is of version {message.version}, allowed is {message.VERSION}")
    if getattr(message, "robot", robot) != robot:
        raise ValueError(f"it is of the robot {message.robot!r}, this one is {robot!r}")


def _from_named(message: Any, part: str, wanted: tuple[str, ...]) -> Array:
    """Numbers of a message's state or action, shape (n,); ValueError if they are not those that are wanted."""
    names, values = getattr(message, f"{part}_names"), getattr(message, part)
    if tuple(names) != wanted:
        raise ValueError(f"its {part} is that of {', '.join(names) or 'nothing'}, wanted is {', '.join(wanted)}")
    if len(values) != len(wanted):
        raise ValueError(f"its {part} has {len(values)} numbers, wanted are {len(wanted)}")
    return np.array(values, dtype=np.float64)


def to_robot_state(robot: Robot, observation: Observation, command_sequence: int) -> RobotState:
    """Message of an observation and of the command that was in force (0: none)."""
    return RobotState(
        header=to_header(observation.time, ODOM_FRAME),
        robot=robot.name,
        sequence=int(observation.sequence),
        episode=int(observation.episode),
        state_names=list(robot.state_names),
        state=array.array("d", observation.state),
        action_names=list(robot.action_names),
        action=array.array("d", observation.action),
        command_sequence=int(command_sequence),
        interval=float(observation.interval),
    )


def from_robot_state(robot: Robot, message: RobotState) -> Observation:
    """Observation of a message; numbers that are NaN are kept.

    Raises:
        ValueError: If it is of another version or robot, or its names or numbers are not those of the robot.
    """
    check_message(message, robot.name)
    return Observation(
        _from_named(message, "state", robot.state_names),
        _from_named(message, "action", robot.action_names),
        to_seconds(message.header.stamp),
        message.sequence,
        message.episode,
        message.interval,
    )


def to_motor_command(robot: Robot, action: Array, seconds: float, sequence: int, state_sequence: int) -> MotorCommand:
    """Command of an action, shape (m,)."""
    return MotorCommand(
        header=to_header(seconds, BASE_FRAME),
        robot=robot.name,
        sequence=int(sequence),
        state_sequence=int(state_sequence),
        action_names=list(robot.action_names),
        action=array.array("d", action),
    )


def from_motor_command(robot: Robot, message: MotorCommand) -> Array:
    """Action of a command, shape (m,).

    Raises:
        ValueError: As of `from_robot_state`.
    """
    check_message(message, robot.name)
    return _from_named(message, "action", robot.action_names)


def to_odometry(body: Body, seconds: float) -> Odometry:
    """Odometry of a body at a time in s; its twist is in base_link (REP 105)."""
    message = Odometry(header=to_header(seconds, ODOM_FRAME), child_frame_id=BASE_FRAME)
    x, y, z = map(float, body.position)
    message.pose.pose = Pose(position=Point(x=x, y=y, z=z), orientation=to_quaternion(body.angles))
    message.twist.twist.linear = _vector(rotations.matrix(body.angles).T @ body.linear_velocity)
    message.twist.twist.angular = _vector(body.angular_velocity)
    return message


def to_transform(odometry: Odometry) -> TransformStamped:
    """Transform of the frame of an odometry to that of the robot, of the same time."""
    message = TransformStamped(header=odometry.header, child_frame_id=odometry.child_frame_id)
    place, transform = odometry.pose.pose.position, message.transform
    transform.translation = Vector3(x=place.x, y=place.y, z=place.z)
    transform.rotation = odometry.pose.pose.orientation
    return message


def to_imu(body: Body, seconds: float) -> Imu:
    """IMU message (REP 145): orientation and angular velocity; acceleration is not reported."""
    message = Imu(header=to_header(seconds, IMU_FRAME))
    message.orientation = to_quaternion(body.angles)
    message.angular_velocity = _vector(body.angular_velocity)
    message.linear_acceleration_covariance[0] = -1.0
    return message


def to_joint_state(names: Iterable[str], positions: Array, velocities: Array, seconds: float) -> JointState:
    """Joint states of joints by name, shape (n,) each, rad and rad/s, or m and m/s."""
    return JointState(
        header=to_header(seconds, ""),
        name=list(names),
        position=array.array("d", positions),
        velocity=array.array("d", velocities),
    )


def to_battery_state(voltage: float, seconds: float) -> BatteryState:
    """Battery state of a voltage, V; what is not measured is NaN."""
    not_measured = ("current", "charge", "capacity", "design_capacity", "percentage", "temperature")
    return BatteryState(
        header=to_header(seconds, BASE_FRAME),
        voltage=float(voltage),
        **dict.fromkeys(not_measured, math.nan),
        power_supply_status=BatteryState.POWER_SUPPLY_STATUS_DISCHARGING,
        power_supply_technology=BatteryState.POWER_SUPPLY_TECHNOLOGY_LIPO,
        present=True,
    )


def to_diagnostics(parts: Iterable[Part], name: str, hardware: str, seconds: float) -> DiagnosticArray:
    """Diagnostics of a node's parts, and of which hardware they are; empty: of this machine."""
    message = DiagnosticArray(header=to_header(seconds, ""))
    for part in parts:
        values = [KeyValue(key=key, value=str(value)) for key, value in part.values.items()]
        message.status.append(
            DiagnosticStatus(
                level=bytes([part.level]),
                name=f"{name}: {part.name}",
                message=part.message,
                hardware_id=hardware or platform.node(),
                values=values,
            )
        )
    return message
