"""Levels of the robot's parts, and their messages."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry

from mbmrl_base.robots.millirobot.layout import pack_state
from mbmrl_base.robots.observation import Observation
from mbmrl_base.toolkit.conversions import to_battery_state, to_diagnostics, to_imu, to_quaternion
from mbmrl_base.toolkit.health import Level, Part
from mbmrl_control.hardware.codecs.wire import Telemetry
from mbmrl_control.hardware.health import Health
from mbmrl_control.hardware.link.clocks import BOARD_DRIFT, Clock
from mbmrl_control.hardware.link.command_book import STALE
from mbmrl_control.hardware.link.link import Link
from mbmrl_control.hardware.pose import CAPTURED, RECKONED, PoseFilter
from mbmrl_control.hardware.pose_checks import Pose
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_control.hardware.settings import BridgeSettings
from mbmrl_control.hardware.state_builder import Reading
from mbmrl_control.nodes import hardware_conversions

NAN = math.nan
GOOD = Telemetry(
    sequence=1,
    time=1.0,
    command_sequence=1,
    applied=(0.0, 0.0),
    phases=(0.0, 0.0),
    speeds=(0.0, 0.0),
    gyro=(0.0, 0.0, 0.0),
    acceleration=(0.1, 0.2, 9.8),
    back_emf=(0.0, 0.0),
    battery=3.9,
    current=(0.1, 0.2),
    temperature=(30.0, 31.0),
    enabled=True,
    emergency_stop=False,
)


class Looked:
    """A link that is as a test wants it, and its health."""

    def __init__(self) -> None:
        settings = BridgeSettings(port="/dev/ttyUSB0", baud=115200)
        self.link = Link(settings, settings.codec("host"), lambda sample: None, lambda reason, lost: None)
        self.link.status.state = "enabled"
        self.link.status.round_trip = 0.001
        self.link.status.newest = GOOD
        self.poses, self.clock = PoseFilter(), Clock("the robot's clock", BOARD_DRIFT, 3.0)
        self.missing: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.health = Health(self.link, self.poses, self.clock, self.missing, self.refused)
        self.link._every = 5

    def parts(self, source: str = CAPTURED, active: bool = True, fresh: bool = True) -> dict[str, Part]:
        now = time.monotonic()
        self.link.status.arrivals.extend([now - 0.01 * n for n in range(99, -1, -1)] if fresh else [])
        return {part.name: part for part in self.health.look(source, active)}


@pytest.fixture
def looked() -> Looked:
    return Looked()


def test_healthy_robot_is_in_order(looked: Looked) -> None:
    parts = looked.parts()
    assert {name: part.message for name, part in parts.items()} == dict.fromkeys(parts, "in order")
    assert set(parts) == {"link", "frames", "pose", "battery", "motors"}
    assert parts["motors"].values["left temperature (degrees Celsius)"] == "30.0"


@pytest.mark.parametrize(
    ("change", "part", "level", "words"),
    [
        ({"battery": 3.5}, "battery", Level.WARN, "3.50 V"),
        ({"battery": 3.3}, "battery", Level.ERROR, "3.30 V"),
        ({"battery": NAN}, "battery", Level.OK, "in order"),
        ({"temperature": (65.0, NAN)}, "motors", Level.WARN, "65 degrees"),
        ({"temperature": (65.0, 90.0)}, "motors", Level.ERROR, "90 degrees"),
        ({"emergency_stop": True}, "motors", Level.ERROR, "emergency stop"),
        ({"faults": ("over_current",)}, "motors", Level.ERROR, "fault over_current"),
        ({"faults": ("dead_man",)}, "motors", Level.WARN, "fault dead_man"),
    ],
)
def test_what_the_robot_tells_is_judged(
    change: dict[str, Any], part: str, level: Level, words: str, looked: Looked
) -> None:
    looked.link.status.newest = replace(GOOD, **change)
    found = looked.parts()[part]
    assert found.level == level
    assert words in found.message


def test_motors_that_are_on_though_they_were_switched_off_are_an_error(looked: Looked) -> None:
    looked.link.rest.begin(0.0)
    looked.link.rest.take(GOOD, 1.0)
    part = looked.parts(active=False)["motors"]
    assert (part.level, part.message) == (
        Level.ERROR,
        "the robot says that its motors are on, though they were switched off",
    )
    looked.link.rest.take(replace(GOOD, enabled=False), 1.1)
    assert looked.parts(active=False)["motors"].level == Level.OK


def test_counts_of_the_last_second_are_judged(looked: Looked) -> None:
    looked.link.codec.counts.bad += 3
    looked.link.counts.dropped += 2
    frames = looked.parts()["frames"]
    assert frames.level == Level.WARN
    assert "3 bad in the last second" in frames.message
    assert "2 dropped in the last second" in frames.message
    assert looked.parts()["frames"].level == Level.OK  # nothing new


def test_refused_commands_and_missing_sensors_of_the_last_second_are_told(looked: Looked) -> None:
    looked.refused[STALE] += 20
    looked.missing["gyro"] += 100
    frames = looked.parts()["frames"]
    assert frames.level == Level.WARN
    assert frames.message == ("gyro missing or impossible in 100 frames; 20 commands refused: too old by their stamps")
    assert frames.values[f"commands refused: {STALE}"] == 20
    assert looked.parts()["frames"].level == Level.OK


@pytest.mark.parametrize(
    ("state", "active", "level"),
    [
        ("ready", False, Level.WARN),
        ("ready", True, Level.ERROR),
        ("connecting", False, Level.ERROR),
        ("closed", False, Level.STALE),
    ],
)
def test_state_of_the_link_is_judged(state: str, active: bool, level: Level, looked: Looked) -> None:
    looked.link.status.state = state
    assert looked.parts(active=active)["link"].level == level


def test_slow_line_is_a_warning(looked: Looked) -> None:
    looked.link.status.round_trip = 0.05
    assert looked.parts()["link"].message == "round trip of 50 ms"


def test_reckoned_pose_is_a_warning(looked: Looked) -> None:
    assert looked.parts(RECKONED)["pose"].level == Level.WARN


def test_states_that_were_reckoned_in_between_are_a_warning(looked: Looked) -> None:
    now = time.monotonic()
    captured(looked)
    looked.parts()
    for n in range(4):
        looked.poses.at(now if n != 1 else now + 0.4)
    assert looked.parts()["pose"].message.startswith("1 of 4 states were reckoned: the newest frame of motion capture")
    assert looked.parts()["pose"].message == "in order"


def test_frames_of_turned_axes_are_an_error(looked: Looked) -> None:
    for now in time.monotonic() + np.arange(-400, 0) * 0.01:
        looked.poses.note(0.01, np.full(2, 30.0), np.zeros(3), np.array([0.0, 0.0, 9.81]))
        looked.poses.add(Pose(now, np.array([1.0, 0.2 * math.fmod(now, 1e3), 0.02]), np.array([0.0, 0.0, 0.1])), now)
        looked.poses.at(now)
    part = looked.parts(RECKONED)["pose"]
    assert part.level == Level.ERROR
    assert "motion capture's heading does not fit: turned by about 8" in part.message


def captured(looked: Looked, late: float = 0.0, **values: Any) -> None:
    """Frames of motion capture that arrive in the last seconds, late by their stamps by a time, s."""
    now = time.monotonic()
    for n in range(1500, 0, -1):
        arrival = now - 0.01 * n
        given = {"position": np.array([1.0, 0.002 * n, 0.02]), "angles": np.zeros(3)} | values
        looked.poses.add(Pose(arrival - late, **given), arrival)
    looked.poses.at(now)


@pytest.mark.parametrize(
    ("late", "values", "level", "words"),
    [
        (0.005, {}, Level.OK, "in order"),
        (0.08, {}, Level.WARN, "frames of motion capture are 80 ms late by their stamps"),
        (1e6, {}, Level.WARN, "stamps are 1000000.0 s off this machine's clock: the time of arrival counts"),
        (-0.4, {}, Level.ERROR, "motion capture's clock is 0.40 s ahead of this machine's: synchronise them"),
        (0.0, {"norm": 0.0}, Level.WARN, "1500 frames refused: no unit quaternion"),
    ],
)
def test_motion_capture_is_judged(
    late: float, values: dict[str, Any], level: Level, words: str, looked: Looked
) -> None:
    captured(looked, late, **values)
    part = looked.parts()["pose"]
    assert part.level == level
    assert words in part.message
    assert part.values["frames refused"] == (1500 if values or late < 0 else 0)


def test_capture_that_is_refused_altogether_is_an_error(looked: Looked) -> None:
    captured(looked, norm=0.0)
    part = looked.parts(RECKONED)["pose"]
    assert part.level == Level.ERROR
    assert part.message.startswith("dead reckoning: all frames of motion capture are refused; 1500 frames")
    assert looked.parts(RECKONED)["pose"].message == "dead reckoning: no frames of motion capture"


def test_clock_of_the_robot_is_told_and_judged(looked: Looked) -> None:
    now = time.monotonic()
    for n in range(1000, 0, -1):
        looked.clock.take(-0.01 * n / 1.05, now - 0.01 * n)
    part = looked.parts()["frames"]
    assert part.level == Level.ERROR
    assert "the robot's clock runs 5.0% slow: allowed is 2.5%" in part.message
    assert part.values["clock runs slow by (%)"] == "5.000"


def test_silent_robot_is_stale(looked: Looked) -> None:
    parts = looked.parts(fresh=False)
    assert {parts[name].level for name in ("frames", "pose", "battery", "motors")} == {Level.STALE}


def test_rate_of_frames_that_came_at_once(looked: Looked) -> None:
    looked.link.status.arrivals.extend([time.monotonic()] * 2)
    assert looked.link.status.rate == 0.0


# Messages


def test_diagnostics_message(looked: Looked) -> None:
    message = to_diagnostics(looked.parts().values(), "bridge", "/dev/ttyUSB0", 12.5)
    assert [status.name for status in message.status][:2] == ["bridge: link", "bridge: frames"]
    assert {bytes(status.level) for status in message.status} == {b"\0"}
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (12, 500_000_000)
    assert all(value.value for status in message.status for value in status.values if value.key != "firmware")


@pytest.mark.parametrize("angles", [(0.0, 0.0, 2.0), (0.3, -0.4, 1.0)])
def test_twist_of_an_odometry_is_turned_into_its_frame(angles: tuple[float, float, float]) -> None:
    message = Odometry()
    message.pose.pose.orientation = to_quaternion(angles)
    message.pose.pose.position.x = 3.0
    message.twist.twist.linear.x = 0.5
    pose = hardware_conversions.from_pose(message, 7.0)
    assert (pose.time, pose.position[0]) == (7.0, 3.0)
    assert pose.angles == pytest.approx(angles)
    pitch, yaw = angles[1], angles[2]
    ahead = np.array([math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), -math.sin(pitch)])
    assert pose.velocity == pytest.approx(0.5 * ahead)


def test_pose_message_there_and_back() -> None:
    message = hardware_conversions.to_pose_stamped(5.0, np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.2, 0.3]))
    assert isinstance(message, PoseStamped)
    pose = hardware_conversions.from_pose(message, 5.0)
    assert pose.position.tolist() == [1.0, 2.0, 3.0]
    assert pose.angles == pytest.approx([0.1, 0.2, 0.3])
    assert pose.velocity is None


def test_what_is_measured_is_added() -> None:
    state = pack_state((0,) * 3, (0,) * 3, (0,) * 3, (0,) * 3, (0, 0), (0, 0), (0, 0), 3.9)
    observation = Observation(state, np.zeros(2), 1.0, 1, 1, 0.05)

    def amended(message: Any, source: str = CAPTURED, telemetry: Telemetry = GOOD) -> Any:
        hardware_conversions.amend(Reading(observation, 1, telemetry, source), message)
        return message

    body = MILLIROBOT.body(state)
    assert body is not None
    imu = amended(to_imu(body, 1.0))
    assert (imu.linear_acceleration.z, imu.linear_acceleration_covariance[0]) == (9.8, 0.0)
    unmeasured = amended(to_imu(body, 1.0), telemetry=replace(GOOD, acceleration=(NAN,) * 3))
    assert unmeasured.linear_acceleration_covariance[0] == -1.0
    assert amended(to_battery_state(3.8, 1.0)).current == pytest.approx(-0.3)
    assert not amended(Odometry()).pose.covariance.any()
    assert amended(Odometry(), RECKONED).pose.covariance.nonzero()[0].tolist() == [0, 7, 35]
