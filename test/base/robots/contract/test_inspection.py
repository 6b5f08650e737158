"""What is told of messages that do not fit a contract."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from mbmrl_base.robots.contract.inspection import Inspection
from rover_testing import STORE, contract, drive, odom

LONG = STORE.types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=2.0)


def twice_as_long(message: Any) -> Any:
    """Odometry with a quaternion that is no rotation."""
    return replace(message, pose=replace(message.pose, pose=replace(message.pose.pose, orientation=LONG)))


def inspect(messages: Any, commanded: bool = True, **changed: Any) -> dict[str, Any]:
    inspection = Inspection(contract(**changed), commanded)
    for time, topic, message in messages:
        inspection.take(topic, message, round(time * 1e9))
    return inspection.as_json()


def test_what_fits_is_in_order() -> None:
    found = inspect(drive(20.0))
    assert found["problems"] == []
    assert found["topics"]["odom"]["rate_hz"] == pytest.approx(50.0)
    assert found["topics"]["odom"]["delay_s"] == pytest.approx(0.002)
    assert found["states"] == {"complete": 400, "missing": 0}
    assert found["numbers"]["speed"]["least"] >= 0.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda each: each if each[1] == "odom" else None, "/cmd_vel: nothing has come"),
        (lambda each: each if each[1] != "odom" else None, "/odom: nothing has come"),
        (lambda each: each if each[1] != "odom" or round(each[0] * 50) % 6 == 0 else None,
         "/odom comes each 0.12 s: states are wanted each 0.05 s"),
        (lambda each: each if each[1] != "odom" or not 1003 < each[0] < 1004.5 else None,
         "/odom: 1 gaps, up to 1.52 s, are longer than its max_age, 0.1 s"),
        (lambda each: (each[0] + 5.0, *each[1:]), "/odom: messages come 5.002 s after their stamps"),
        (lambda each: (each[0], "odom", odom(each[0], forward=0.3)) if each[1] == "odom" else each,
         "forward (odom: twist.twist.linear.x) is always 0.3"),
        (lambda each: (each[0], "odom", odom(each[0], x=math.nan, y=each[0])) if each[1] == "odom" else each,
         "x (odom: pose.pose.position.x) is not finite in 500 messages"),
        (lambda each: (each[0], "odom", twice_as_long(odom(each[0], x=each[0]))) if each[1] == "odom" else each,
         "yaw (odom: yaw(pose.pose.orientation)) is of a quaternion whose length is not 1 in 500 messages"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(change: Any, words: str) -> None:
    found = inspect(filter(None, map(change, drive(10.0))))
    assert any(problem.startswith(words) for problem in found["problems"]), found["problems"]


def test_commands_beyond_their_bounds_are_told() -> None:
    narrow = [
        part.model_copy(update={"high": 0.3, "low": 0.0}) if part.name == "speed" else part
        for part in contract().actions
    ]
    found = inspect(drive(20.0), actions=[part.model_dump() for part in narrow])
    (problem,) = found["problems"]
    assert problem.startswith("speed (cmd_vel: linear.x) goes from 0.")
    assert problem.endswith("messages beyond its bounds, 0 to 0.3")


def test_running_robot_need_not_be_commanded() -> None:
    """That nobody does is said all the same."""
    inspection = Inspection(contract(), commanded=False)
    for time, topic, message in drive(5.0):
        if topic == "odom":
            inspection.take(topic, message, round(time * 1e9))
    assert list(inspection.problems()) == []
    assert list(inspection.unused()) == ["/cmd_vel: nobody commands the robot: nothing is known of these actions"]
    assert list(Inspection(contract()).unused()) == []
