"""Messages from and to what the core uses; nothing else.

A number that is not of exactly its field's type, an int where a float is due or a scalar of numpy's, aborts
the process in the middleware's C code: each goes through ``float()`` or ``int()``.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, Imu, JointState
from std_msgs.msg import Header

from mbmrl_base.robots.millirobot import layout
from mbmrl_base.robots.millirobot.layout import angle, pack_state
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.toolkit.health import Part
from mbmrl_msgs.msg import MotorCommand, RobotState

MessageT = TypeVar("MessageT", bound=Any)
ODOM_FRAME = "odom"
BASE_FRAME = "base_link"
IMU_FRAME = "imu_link"
JOINT_NAMES = ("left_crank_joint", "right_crank_joint", *(f"{leg}_hip" for leg in layout.LEG_NAMES))


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
        parts = [message, *getattr(message, "poses", ())]
        for header in {id(part.header): part.header for part in parts}.values():  # they may share one
            header.frame_id = prefix + header.frame_id if header.frame_id else ""
        if hasattr(message, "child_frame_id"):
            message.child_frame_id = prefix + message.child_frame_id
    return message


def to_quaternion(roll: float, pitch: float, yaw: float) -> Quaternion:
    """Quaternion of roll, pitch and yaw, rad, about fixed axes (REP 103)."""
    cr, cp, cy = (math.cos(a / 2) for a in (roll, pitch, yaw))
    sr, sp, sy = (math.sin(a / 2) for a in (roll, pitch, yaw))
    return Quaternion(
        w=cr * cp * cy + sr * sp * sy,
        x=sr * cp * cy - cr * sp * sy,
        y=cr * sp * cy + sr * cp * sy,
        z=cr * cp * sy - sr * sp * cy,
    )


def to_roll_pitch_yaw(quaternion: Quaternion) -> tuple[float, float, float]:
    """Roll, pitch and yaw, rad, of a unit quaternion."""
    w, x, y, z = quaternion.w, quaternion.x, quaternion.y, quaternion.z
    return (
        math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)),
        math.asin(min(1.0, max(-1.0, 2 * (w * y - z * x)))),
        math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)),
    )


def _vector(values: Array) -> Vector3:
    return Vector3(x=float(values[0]), y=float(values[1]), z=float(values[2]))


def _numbers(vector: Vector3 | Point) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z


def _angles(state: Array) -> tuple[float, float, float]:
    return tuple(float(angle(state, pair)) for pair in (layout.ROLL, layout.PITCH, layout.YAW))  # type: ignore[return-value]


def _pose(state: Array) -> Pose:
    x, y, z = map(float, state[layout.POSITION])
    return Pose(position=Point(x=x, y=y, z=z), orientation=to_quaternion(*_angles(state)))


def to_robot_state(observation: Observation, command_sequence: int) -> RobotState:
    """Message of an observation and of the command that was in force (0: none)."""
    state = observation.state
    left, right = map(float, observation.action)
    return RobotState(
        header=to_header(observation.time, ODOM_FRAME),
        sequence=int(observation.sequence),
        episode=int(observation.episode),
        pose=_pose(state),
        linear_velocity=_vector(state[layout.LINEAR_VELOCITY]),
        angular_velocity=_vector(state[layout.ANGULAR_VELOCITY]),
        left_leg_phase=float(angle(state, layout.LEFT_PHASE)),
        right_leg_phase=float(angle(state, layout.RIGHT_PHASE)),
        left_leg_speed=float(state[layout.LEG_SPEED.start]),
        right_leg_speed=float(state[layout.LEG_SPEED.start + 1]),
        left_back_emf=float(state[layout.BACK_EMF.start]),
        right_back_emf=float(state[layout.BACK_EMF.start + 1]),
        battery_voltage=float(state[layout.BATTERY.start]),
        applied_left_leg_speed=left,
        applied_right_leg_speed=right,
        command_sequence=int(command_sequence),
        interval=float(observation.interval),
    )


def from_robot_state(message: RobotState) -> Observation:
    """Observation of a message."""
    state = pack_state(
        _numbers(message.pose.position),
        _numbers(message.linear_velocity),
        to_roll_pitch_yaw(message.pose.orientation),
        _numbers(message.angular_velocity),
        (message.left_leg_phase, message.right_leg_phase),
        (message.left_leg_speed, message.right_leg_speed),
        (message.left_back_emf, message.right_back_emf),
        message.battery_voltage,
    )
    action = np.array([message.applied_left_leg_speed, message.applied_right_leg_speed])
    return Observation(
        state, action, to_seconds(message.header.stamp), message.sequence, message.episode, message.interval
    )


def from_motor_command(message: MotorCommand) -> Array:
    """Leg speed set-points of a command, shape (2,), rad/s."""
    return np.array([message.left_leg_speed, message.right_leg_speed])


def to_motor_command(action: Array, seconds: float, sequence: int, state_sequence: int) -> MotorCommand:
    """Command of leg speed set-points, shape (2,), rad/s."""
    left, right = map(float, action)
    return MotorCommand(
        header=to_header(seconds, BASE_FRAME),
        sequence=int(sequence),
        state_sequence=int(state_sequence),
        left_leg_speed=left,
        right_leg_speed=right,
    )


def to_odometry(observation: Observation) -> Odometry:
    """Odometry; its twist is in base_link (REP 105)."""
    message = Odometry(header=to_header(observation.time, ODOM_FRAME), child_frame_id=BASE_FRAME)
    message.pose.pose = _pose(observation.state)
    roll, pitch, yaw = _angles(observation.state)
    linear = _rotation(roll, pitch, yaw).T @ observation.state[layout.LINEAR_VELOCITY]
    message.twist.twist.linear = _vector(linear)
    message.twist.twist.angular = _vector(observation.state[layout.ANGULAR_VELOCITY])
    return message


def _rotation(roll: float, pitch: float, yaw: float) -> Array:
    (cr, cp, cy), (sr, sp, sy) = np.cos((roll, pitch, yaw)), np.sin((roll, pitch, yaw))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def to_imu(observation: Observation) -> Imu:
    """IMU message (REP 145): orientation and angular velocity; acceleration is not reported."""
    message = Imu(header=to_header(observation.time, IMU_FRAME))
    message.orientation = to_quaternion(*_angles(observation.state))
    message.angular_velocity = _vector(observation.state[layout.ANGULAR_VELOCITY])
    message.linear_acceleration_covariance[0] = -1.0
    return message


def to_joint_state(observation: Observation, angles: Array) -> JointState:
    """Joint states of the angles of all joints, shape (8,), rad."""
    left, right = map(float, observation.state[layout.LEG_SPEED])
    return JointState(
        header=to_header(observation.time, ""),
        name=list(JOINT_NAMES),
        position=[float(angle) for angle in angles],
        velocity=[left, right] + [left] * 3 + [right] * 3,
    )


def to_battery_state(observation: Observation) -> BatteryState:
    """Battery state; what is not measured is NaN."""
    nan = math.nan
    return BatteryState(
        header=to_header(observation.time, BASE_FRAME),
        voltage=float(observation.state[layout.BATTERY.start]),
        current=nan,
        charge=nan,
        capacity=nan,
        design_capacity=nan,
        percentage=nan,
        temperature=nan,
        power_supply_status=BatteryState.POWER_SUPPLY_STATUS_DISCHARGING,
        power_supply_technology=BatteryState.POWER_SUPPLY_TECHNOLOGY_LIPO,
        present=True,
    )


def to_diagnostics(parts: Iterable[Part], name: str, hardware: str, seconds: float) -> DiagnosticArray:
    """Diagnostics of a node's parts, and of which hardware they tell; empty: of this machine."""
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
