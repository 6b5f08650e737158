"""Messages of actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Twist, TwistStamped
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, Float64MultiArray, Int8, Int32MultiArray, String, UInt16

from mbmrl_base.robots.contract.fields import Field, FieldError
from mbmrl_base.robots.contract.writer import Writer
from rover_testing import contract


def writer(kind: type, *actions: dict[str, Any]) -> Writer:
    """One of a topic with actions, from -100 to 100 if nothing else is said."""
    usual = {"low": -100.0, "high": 100.0, "topic": "cmd_vel"}
    given = [usual | {"name": f"action{number}"} | action for number, action in enumerate(actions)]
    return Writer(contract(actions=given), "cmd_vel", kind)


def test_numbers_are_in_the_units_of_the_field_and_come_back() -> None:
    made = writer(Twist, {"field": "linear.x", "scale": -0.5, "offset": 1.0}).message(np.array([3.0]), 0)
    assert made.linear.x == -4.0
    assert -0.5 * Field("linear.x").read(made) + 1.0 == 3.0


def test_joints_are_named_and_items_filled() -> None:
    made = writer(JointState, {"field": "position[arm]"}, {"field": "velocity[wheel]"}).message(np.array([1.0, 2.0]), 0)
    assert list(made.name) == ["arm", "wheel"]
    assert (list(made.position), list(made.velocity)) == ([1.0], [0.0, 2.0])
    made = writer(Float64MultiArray, {"field": "data[2]"}).message(np.array([7.0]), 0)
    assert list(made.data) == [0.0, 0.0, 7.0]


def test_header_bears_the_time() -> None:
    stamp = writer(TwistStamped, {"field": "twist.linear.x"}).message(np.array([1.0]), 12_000_000_034).header.stamp
    assert (stamp.sec, stamp.nanosec) == (12, 34)


@pytest.mark.parametrize(
    ("kind", "field", "value", "written"),
    [
        (Int8, "data", 3.6, 4),
        (Int8, "data", -100.4, -100),
        (Int32MultiArray, "data[1]", 5.4, 5),
        (Joy, "buttons[0]", 1.0, 1),
    ],
)
def test_whole_numbers_are_rounded(kind: type, field: str, value: float, written: int) -> None:
    assert Field(field).read(writer(kind, {"field": field}).message(np.array([value]), 0)) == written


def test_numbers_do_not_wrap_round() -> None:
    """Of an action without bounds: 40000 in 16 bits would be -25536."""
    unlimited = writer(UInt16, {"field": "data", "low": None, "high": None})
    assert [unlimited.message(np.array([value]), 0).data for value in (-5.0, 7.0, 1e9)] == [0, 7, 65535]


@pytest.mark.parametrize(
    ("kind", "action", "words"),
    [
        (Int8, {"field": "data", "low": -200.0, "high": 200.0}, "'data' cannot hold action0 of -200: -128"),
        (UInt16, {"field": "data"}, "'data' cannot hold action0 of -100: 0"),
        (Bool, {"field": "data"}, "'data' cannot hold action0 of -100: 0"),
        (Twist, {"field": "linear.x", "scale": 1e-320}, "cannot hold"),
        (String, {"field": "data"}, "'data' is no number but string"),
        (JointState, {"field": "name[0]"}, "is no list of numbers but sequence<string>"),
        (Twist, {"field": "linear.x[0]"}, "'linear.x.0.' is no list of numbers but double"),
        (Joy, {"field": "axes"}, "'axes' is no number but sequence<float>"),
        (Twist, {"field": "yaw(angular)"}, "an angle is not a number"),
        (JointState, {"field": "position[99999999999]"}, "the number of an item is below 10000"),
    ],
)
def test_fields_that_cannot_hold_an_action_are_refused(kind: type, action: dict[str, Any], words: str) -> None:
    with pytest.raises((FieldError, ValueError), match=words):
        writer(kind, action)
