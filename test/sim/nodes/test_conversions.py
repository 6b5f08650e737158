"""Messages from and to what the core uses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.robots.catalogue import load_robot
from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.millirobot.body import JOINT_NAMES, of_joints
from mbmrl_base.robots.millirobot.layout import ANGULAR_VELOCITY, LINEAR_VELOCITY, POSITION, pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_base.robots.robot import Body
from mbmrl_base.toolkit.conversions import (
    from_motor_command,
    from_robot_state,
    to_battery_state,
    to_imu,
    to_joint_state,
    to_motor_command,
    to_odometry,
    to_quaternion,
    to_robot_description,
    to_robot_state,
    to_roll_pitch_yaw,
    to_seconds,
    to_time,
)
from mbmrl_msgs.msg import RobotState
from mbmrl_msgs.srv import InjectFault
from mbmrl_sim.millirobot.faults import FAULT_KINDS
from mbmrl_sim.nodes import conversions

ROBOT = load_robot("millirobot")
numbers = st.floats(-100.0, 100.0)
angles = st.floats(-3.14, 3.14)
pitches = st.floats(-1.5, 1.5)  # short of where roll and yaw are one and the same


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Whatever the robot may report, falling over included."""
    vector = st.tuples(numbers, numbers, numbers)
    pair = st.tuples(numbers, numbers)
    state = pack_state(
        draw(vector),
        draw(vector),
        (draw(angles), draw(pitches), draw(angles)),
        draw(vector),
        draw(st.tuples(angles, angles)),
        draw(pair),
        draw(pair),
        draw(numbers),
    )
    return Observation(
        state,
        action=np.array(draw(pair)),
        time=draw(st.integers(0, 10**14)) * 1e-9,
        sequence=draw(st.integers(0, 2**64 - 1)),
        episode=draw(st.integers(0, 2**32 - 1)),
        interval=draw(st.floats(0.0, 1.0)),
    )


def observation(roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> Observation:
    """A robot in some attitude."""
    state = pack_state(
        (1.0, 2.0, 3.0),
        (0.3, -0.1, 0.2),
        (roll, pitch, yaw),
        (4.0, 5.0, 6.0),
        (0.1, 0.2),
        (30.0, 20.0),
        (0.9, 0.6),
        3.9,
    )
    return Observation(state, np.array([31.0, 21.0]), time=12.25, sequence=7, episode=2, interval=0.05)


def body_of(there: Observation) -> Body:
    """Where the body is."""
    body = ROBOT.body(there.state)
    assert body is not None
    return body


def rotate(quaternion: Quaternion, vector: np.ndarray) -> np.ndarray:
    """Turn a vector by a quaternion, by its definition."""
    part = np.array([quaternion.x, quaternion.y, quaternion.z])
    return vector + 2 * np.cross(part, np.cross(part, vector) + quaternion.w * vector)


def test_fields_are_checked() -> None:
    with pytest.raises(AssertionError):
        RobotState(interval="long")


@given(observations())
def test_robot_state_carries_the_observation_there_and_back(there: Observation) -> None:
    back = from_robot_state(ROBOT, to_robot_state(ROBOT, there, command_sequence=3))
    np.testing.assert_array_equal(back.state, there.state)
    np.testing.assert_array_equal(back.action, there.action)
    assert back.time == pytest.approx(there.time, abs=1e-9)
    assert (back.sequence, back.episode, back.interval) == (there.sequence, there.episode, there.interval)


def test_robot_state_names_its_frame_and_the_command_in_force() -> None:
    message = to_robot_state(ROBOT, observation(), command_sequence=41)
    assert message.header.frame_id == "odom"
    assert message.header.stamp == Time(sec=12, nanosec=250_000_000)
    assert message.command_sequence == 41
    assert dict(zip(message.action_names, message.action, strict=True)) == {
        "left_leg_speed": 31.0,
        "right_leg_speed": 21.0,
    }
    state = dict(zip(message.state_names, message.state, strict=True))
    assert (state["x"], state["vy"], state["left_speed"], state["battery"]) == (1.0, -0.1, 30.0, 3.9)


def test_robot_is_described() -> None:
    message = to_robot_description(ROBOT)
    units = dict(zip(message.state_names, message.state_units, strict=True))
    assert (message.robot, units["vx"], units["cos_yaw"], list(message.angles)) == ("millirobot", "m/s", "", [])
    assert list(message.action_units) == ["rad/s", "rad/s"]
    assert list(message.action_low) == [0.0, 0.0]
    assert list(message.action_high) == pytest.approx([18 * math.pi] * 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 2}, "it is of version 2, allowed is 1"),
        ({"robot": "husky"}, "it is of the robot 'husky', this one is 'millirobot'"),
        ({"state": [0.0] * 23}, "its state has 23 numbers, wanted are 24"),
        ({"state": [0.0] * 25}, "its state has 25 numbers, wanted are 24"),
        ({"state_names": list(ROBOT.state_names[:-1])}, "its state is that of x, y, .*, wanted is x, y, "),
        ({"action": []}, "its action has 0 numbers, wanted are 2"),
        ({"action_names": ["right_leg_speed", "left_leg_speed"]}, "its action is that of right_leg_speed, left_leg"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_state_that_is_not_of_this_robot_is_refused(change: dict[str, Any], sentence: str) -> None:
    message = to_robot_state(ROBOT, observation(), command_sequence=1)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=sentence):
        from_robot_state(ROBOT, message)


def test_state_that_was_not_measured_is_kept() -> None:
    there = observation()
    there.state[3] = math.nan
    np.testing.assert_array_equal(from_robot_state(ROBOT, to_robot_state(ROBOT, there, 1)).state, there.state)


@given(st.integers(0, 2**31 * 10**6 - 1))
def test_stamp_is_exact_to_the_microsecond(microseconds: int) -> None:
    stamp = to_time(microseconds * 1e-6)
    assert stamp.sec * 10**6 + round(stamp.nanosec / 1000) == microseconds
    assert to_seconds(stamp) == pytest.approx(microseconds * 1e-6, abs=1e-6)


def test_stamp_carries_over_to_the_next_second() -> None:
    assert to_time(1.9999999999) == Time(sec=2, nanosec=0)


@given(angles, pitches, angles)
def test_quaternion_turns_about_fixed_axes_in_the_order_roll_pitch_yaw(roll: float, pitch: float, yaw: float) -> None:
    quaternion = to_quaternion((roll, pitch, yaw))
    assert math.hypot(quaternion.w, quaternion.x, quaternion.y, quaternion.z) == pytest.approx(1.0)
    vector = np.array([0.3, -0.5, 0.8])
    expected = vector
    for axis, turn in (((1, 0, 0), roll), ((0, 1, 0), pitch), ((0, 0, 1), yaw)):
        expected = rotate(
            Quaternion(**dict(zip("xyz", np.array(axis) * math.sin(turn / 2), strict=True)), w=math.cos(turn / 2)),
            expected,
        )
    np.testing.assert_allclose(rotate(quaternion, vector), expected, atol=1e-12)
    np.testing.assert_allclose(to_roll_pitch_yaw(quaternion), (roll, pitch, yaw), atol=1e-12)


@pytest.mark.parametrize("attitude", [(0.0, 0.0, 0.0), (0.0, 0.0, 2.5), (0.4, -0.3, 1.0), (3.0, 0.2, -2.0)])
def test_odometry_has_its_twist_in_the_body(attitude: tuple[float, float, float]) -> None:
    there = observation(*attitude)
    message = to_odometry(body_of(there), there.time)
    assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
    position, linear, angular = (
        message.pose.pose.position,
        message.twist.twist.linear,
        message.twist.twist.angular,
    )
    assert [position.x, position.y, position.z] == there.state[POSITION].tolist()
    in_odom = rotate(message.pose.pose.orientation, np.array([linear.x, linear.y, linear.z]))
    np.testing.assert_allclose(in_odom, there.state[LINEAR_VELOCITY], atol=1e-12)
    assert [angular.x, angular.y, angular.z] == there.state[ANGULAR_VELOCITY].tolist()


def test_imu_says_that_it_has_no_acceleration() -> None:
    there = observation(0.1, 0.2, 0.3)
    message = to_imu(body_of(there), there.time)
    assert message.header.frame_id == "imu_link"
    assert message.linear_acceleration_covariance[0] == -1
    assert message.orientation == to_odometry(body_of(there), there.time).pose.pose.orientation
    assert [message.angular_velocity.x, message.angular_velocity.y, message.angular_velocity.z] == [
        4.0,
        5.0,
        6.0,
    ]


def test_joint_states_of_all_joints() -> None:
    message = to_joint_state(JOINT_NAMES, np.arange(8.0), of_joints(30.0, 20.0), 1.5)
    assert message.name[:3] == ["left_crank_joint", "right_crank_joint", "left_front_hip"]
    assert list(message.position) == list(range(8))
    assert list(message.velocity) == [30.0, 20.0, 30.0, 30.0, 30.0, 20.0, 20.0, 20.0]
    assert message.header.stamp == Time(sec=1, nanosec=500_000_000)


def test_battery_state_is_nan_where_unmeasured() -> None:
    message = to_battery_state(3.9, 0.0)
    assert message.voltage == pytest.approx(3.9)
    unmeasured = ("current", "charge", "capacity", "design_capacity", "percentage", "temperature")
    assert [name for name in unmeasured if not math.isnan(getattr(message, name))] == []


def test_motor_command_there_and_back() -> None:
    message = to_motor_command(ROBOT, np.array([20.0, 30.0]), 1.5, sequence=4, state_sequence=9)
    assert (message.sequence, message.state_sequence) == (4, 9)
    assert message.header.stamp == Time(sec=1, nanosec=500_000_000)
    assert from_motor_command(ROBOT, message).tolist() == [20.0, 30.0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"version": 0}, "it is of version 0, allowed is 1"),
        ({"robot": ""}, "it is of the robot '', this one is"),
        ({"action": [1.0]}, "its action has 1 numbers"),
        ({"action_names": []}, "its action is that of nothing, wanted is left_leg_speed, right_leg_speed"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_command_that_is_not_for_this_robot_is_refused(change: dict[str, Any], sentence: str) -> None:
    message = to_motor_command(ROBOT, np.zeros(2), 0.0, 1, 1)
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(ValueError, match=sentence):
        from_motor_command(ROBOT, message)


def test_faults_in_force() -> None:
    faults = [
        Fault("leg_loss", "left_rear", since=1.5),
        Fault("payload", magnitude=15.0, x=0.03, y=-0.01, ramp=2.0, since=2.0),
        Fault("motor_weak", part="left", magnitude=0.4),
        Fault("terrain", terrain="gravel"),
        Fault("link", magnitude=50.0, loss=10.0),
        Fault("slope", magnitude=-8.0, direction=90.0),
    ]
    message = conversions.to_fault_array(faults, 3.0)
    assert message.header.stamp == Time(sec=3)
    assert [conversions.from_fault(fault) for fault in message.faults] == faults
    for fault in faults:
        assert conversions.from_fault(conversions.to_fault_request(fault)) == replace(fault, since=0.0)


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_default_values_of_each_kind_fit_the_message(kind: str) -> None:
    fault = FAULT_KINDS.choose(Fault(kind), rng=np.random.default_rng(0))
    assert conversions.from_fault(conversions.to_fault(fault)) == fault
    assert conversions.from_fault(conversions.to_fault_request(FAULT_KINDS.plan(f"{kind}@3").faults[0])) == Fault(kind)


@pytest.mark.parametrize("number", [int, np.int64, np.float32], ids=lambda number: number.__name__)
def test_numbers_of_any_type_fit_each_message(number: type) -> None:
    """Fields are checked in tests; elsewhere a wrong type aborts the process."""
    kind = np.dtype(number) if number is np.float32 else np.dtype(int)
    there = Observation(np.ones(24, kind), np.array([3, 4], kind), *(number(value) for value in (5, 6, 7, 1)))
    state = to_robot_state(ROBOT, there, number(8))
    assert (state.sequence, state.episode, state.command_sequence, state.interval) == (6, 7, 8, 1.0)
    assert (state.header.stamp, list(state.action)) == (Time(sec=5), [3.0, 4.0])
    command = to_motor_command(ROBOT, there.action, there.time, there.sequence, number(9))
    assert (list(command.action), command.state_sequence) == ([3.0, 4.0], 9)
    assert to_odometry(body_of(there), there.time).pose.pose.position.z == 1.0
    assert to_imu(body_of(there), there.time).angular_velocity.x == 1.0
    joints = to_joint_state(JOINT_NAMES, np.arange(8, dtype=kind), np.arange(8, dtype=kind), number(5))
    assert list(joints.position) == list(range(8))
    assert to_battery_state(number(1), number(5)).voltage == 1.0
    fault = conversions.to_fault(Fault("leg_loss", "left_rear", "", *map(number, range(1, 8))))
    assert (fault.part, fault.magnitude, fault.ramp, fault.since) == ("left_rear", 1.0, 6.0, Time(sec=7))


def test_request_without_values_is_the_default_fault() -> None:
    assert conversions.from_fault(InjectFault.Request()) == Fault()


def test_faults_of_another_version_are_refused() -> None:
    message = conversions.to_fault_array([], 0.0)
    assert conversions.from_fault_array(message) == ()
    message.version = 9
    with pytest.raises(ValueError, match=r"^it is of version 9, allowed is 1$"):
        conversions.from_fault_array(message)
