"""Whether a robot whose motors were switched off obeys, by its frames."""

from __future__ import annotations

import math
from typing import Any

import pytest

from hardware_testing import telemetry
from mbmrl_control.hardware.link.rest import REPEAT_PERIOD, REST_TIME, Rest

OFF = {"enabled": False, "speeds": (0.0, 0.0)}


def told(rest: Rest, since: float, until: float, **values: Any) -> int:
    """Frames at 100 Hz between two times, s; returns how often the stop is to be sent again."""
    return sum(rest.take(telemetry(1, **values), n * 0.01) for n in range(round(since * 100), round(until * 100)))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "the robot says that its motors are on, though they were switched off"),
        ({"speeds": (0.0, 0.0)}, "the robot says that its motors are on, though they were switched off"),
        ({"enabled": False}, "the legs turn at 35 rad/s, though the motors were switched off"),
        ({"emergency_stop": True, "speeds": (0.0, -9.0)}, "the legs turn at 9 rad/s, though"),
        (OFF, ""),
        (OFF | {"enabled": True, "emergency_stop": True}, ""),
        ({"enabled": False, "speeds": (math.nan, math.nan)}, ""),
        ({"enabled": False, "speeds": (3.0, 4.0)}, ""),  # turned by hand
    ],
    ids=str,
)
def test_what_frames_say_of_motors_that_were_switched_off(values: dict[str, Any], words: str) -> None:
    rest = Rest()
    rest.begin(1.0)
    again = told(rest, 1.0, 3.01, **values)
    assert rest.wrong.startswith(words)
    assert bool(rest.wrong) == bool(words)
    assert again == (round(2.0 / REPEAT_PERIOD) if words else 0)
    assert rest.wait() != bool(words)
    told(rest, 3.0, 3.1, **OFF)
    assert not rest.wrong
    assert rest.wait()


def test_legs_have_time_to_come_to_rest() -> None:
    rest = Rest()
    rest.begin(0.0)
    told(rest, 0.0, REST_TIME)
    assert not rest.wrong
    told(rest, REST_TIME, 2.0, **OFF)
    assert told(rest, 2.0, 2.1) == 0  # a spoilt frame
    assert not rest.wrong


def test_nothing_is_said_of_motors_that_may_be_on() -> None:
    rest = Rest()
    told(rest, 0.0, 2.0)
    rest.begin(2.0)
    told(rest, 2.0, 4.0)
    assert rest.wrong
    rest.end()
    assert told(rest, 4.0, 6.0) == 0
    assert not rest.wrong


def test_another_stop_does_not_excuse_the_robot() -> None:
    rest = Rest()
    rest.begin(0.0)
    told(rest, 0.0, 1.0)
    rest.begin(1.0)
    assert rest.wrong
