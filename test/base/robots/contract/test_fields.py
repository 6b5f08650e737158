"""Numbers in messages by their paths."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
from geometry_msgs.msg import Quaternion, Twist
from hypothesis import given
from hypothesis import strategies as st
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray, Int8, String

import rover_testing
from mbmrl_base.robots import rotations
from mbmrl_base.robots.contract.fields import Field, FieldError

JOINTS = JointState(name=["left", "right"], position=[1.0, 2.0], velocity=[3.0, 4.0])


def test_number_is_found_by_its_path() -> None:
    odom = Odometry()
    odom.twist.twist.linear.x = 0.5
    assert Field("twist.twist.linear.x").read(odom) == 0.5
    assert Field("velocity[right]").read(JOINTS) == 4.0
    assert Field("position[0]").read(JOINTS) == 1.0
    assert Field("data[2]").read(Float64MultiArray(data=[0.0, 1.0, 2.5])) == 2.5
    assert Field("pose.pose.position.x").read(rover_testing.odom(3.0, x=2.0)) == 2.0


def test_item_is_found_by_its_name_wherever_it_stands() -> None:
    field = Field("position[right]")
    assert field.read(JOINTS) == 2.0
    assert field.read(JointState(name=["arm", "left", "right"], position=[7.0, 8.0, 9.0])) == 9.0


@pytest.mark.parametrize("sign", [1, -1])
def test_angles_of_a_quaternion_are_those_about_fixed_axes(sign: int) -> None:
    angles = {"roll": 0.3, "pitch": -0.4, "yaw": 2.5}
    w, x, y, z = (sign * number for number in rotations.quaternion(angles.values()))
    imu = Imu(orientation=Quaternion(x=x, y=y, z=z, w=w))
    for name, angle in angles.items():
        assert Field(f"{name}(orientation)").read(imu) == pytest.approx(angle)


def test_angle_of_no_rotation_is_not_known() -> None:
    imu = Imu()
    imu.orientation.w = 0.0  # who has none leaves it so
    assert math.isnan(Field("yaw(orientation)").read(imu))


@pytest.mark.parametrize("path", ["", "a b", "a.", ".a", "a[", "a[]", "a[b", "sin(a)", "yaw(a", "yaw()", "a[b]c", "1a"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(FieldError, match="is no path in a message: wanted is such as"):
        Field(path)


@pytest.mark.parametrize(
    ("path", "message", "sentence"),
    [
        ("twist.linear.x", Odometry(), r"there is no 'linear' in TwistWithCovariance: it has twist, covariance"),
        ("twist.twist.linear", Odometry(), "is no number but Vector3"),
        ("data", String(data="x"), "is no number but str"),
        ("yaw(pose.pose.position)", Odometry(), "is no quaternion but Point"),
        ("effort[left]", JOINTS, "there are 0 items"),
        ("position[arm]", JOINTS, "there is no 'arm' in left, right"),
        ("position[2]", JOINTS, "there are 2 items"),
        ("linear.x[left]", Twist(), "there are no items with names in Vector3"),
    ],
)
def test_what_a_message_lacks_is_named(path: str, message: object, sentence: str) -> None:
    with pytest.raises(FieldError, match=sentence):
        Field(path).read(message)


@given(st.text("abz.[]()019_ yawpitchrol", max_size=30), st.floats())
def test_any_path_is_read_and_written_or_refused(path: str, value: float) -> None:
    with suppress(FieldError):
        field = Field(path)
        for message in (JointState(name=["a", "b"], position=[1.0, 2.0]), Float64MultiArray(data=[0.0]), Odometry()):
            with suppress(FieldError):
                assert isinstance(field.read(message), float)
            with suppress(FieldError):
                field.write(message, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308])
@pytest.mark.parametrize("kind", [Odometry, JointState, Float64MultiArray, String, Int8])
def test_any_number_is_written_within_its_type_or_refused(kind: type, value: float) -> None:
    message, path = kind(), {Odometry: "pose.pose.position.x", JointState: "position[3]"}.get(kind, "data")
    with suppress(FieldError):
        Field(path).write(message, value)
        assert abs(Field(path).read(message)) <= (128 if kind is Int8 else 1.8e308)
