"""Bad motion capture, and bad clocks, of an emulated robot that walks behind a real pseudo-terminal."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, Quaternion
from lifecycle_msgs.msg import Transition

from bridge_testing import ACTIVE, INACTIVE, Driver, StartNode
from hardware_testing import Robot
from mbmrl_base.robots.millirobot.layout import PITCH, POSITION, ROLL, YAW, angle
from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit.conversions import to_seconds, to_time
from mbmrl_control.hardware.emulator.board import FirmwareSettings
from mbmrl_control.nodes import hardware_conversions
from mbmrl_sim.millirobot.world import World
from ros_testing import Peer, number_of

Spoil = Callable[[int, PoseStamped], None]
WARN, ERROR = 1, 2


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def robot(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Robot]:
    """An emulated robot; its settings are the fixture's parameter."""
    with Robot(world, tmp_path, **({"capture_rate": 100.0} | getattr(request, "param", {}))) as robot:
        yield robot


class Laboratory(Driver):
    """A driver that tells what motion capture sees of the robot, spoilt as a test wants it."""

    spoil: Spoil | None = None

    def watch(self) -> None:
        frames = 0

        def tell(taken: float, state: Array) -> None:
            nonlocal frames
            frames += 1
            angles = np.array([angle(state, pair) for pair in (ROLL, PITCH, YAW)])
            message = hardware_conversions.to_pose_stamped(
                time.time() - time.monotonic() + taken, state[POSITION], angles
            )
            if self.spoil is not None:
                self.spoil(frames, message)
            self._poses.publish(message)

        self.robot.on_capture = tell

    def walk_in_order(self) -> None:
        """Walk, with motion capture that is believed."""
        self.start()
        self.watch()
        self.walk()
        self.until(lambda: self.robot.moves and self.level("pose") == 0)

    def source(self) -> str:
        """Where the pose is known from by the newest diagnostics."""
        return next(str(value.value) for value in self.part("pose").values if value.key == "source")

    def states_with(self, spoil: Spoil, count: int = 40) -> list[Any]:
        """States told while motion capture is spoilt."""
        self.spoil = spoil
        seen = len(self.states)
        self.until(lambda: len(self.states) >= seen + count)
        return self.states[seen:]


@pytest.fixture
def driver(peer: Peer, robot: Robot, start_node: StartNode) -> Iterator[Laboratory]:
    driver = Laboratory(peer, robot, start_node)
    yield driver
    robot.on_capture = lambda taken, state: None


def assert_continuous(states: list[Any]) -> None:
    """No state is further from the one before than a robot can have gone: it turns by up to 5 rad/s."""
    assert {state.episode for state in states} == {states[0].episode}
    for before, after in itertools.pairwise(states):
        duration = to_seconds(after.header.stamp) - to_seconds(before.header.stamp)
        turned = [math.atan2(number_of(state, "sin_yaw"), number_of(state, "cos_yaw")) for state in (before, after)]
        assert abs(math.remainder(turned[1] - turned[0], 2 * math.pi)) < 10.0 * duration + 0.3
        place, other = (np.array([number_of(s, "x"), number_of(s, "y")]) for s in (before, after))
        assert np.linalg.norm(place - other) < 1.0 * duration + 0.05


def occluded(_: int, message: PoseStamped) -> None:
    message.pose.position.x = message.pose.position.y = message.pose.position.z = 0.0
    message.pose.orientation = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)


def one_in_20(number: int, message: PoseStamped) -> None:
    if number % 20 == 0:
        message.pose.orientation = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)


def y_up(_: int, message: PoseStamped) -> None:
    """The same pose in a frame whose y is up: all is turned by -90 degrees about x."""
    place, q = message.pose.position, message.pose.orientation
    place.y, place.z = place.z, -place.y
    c, s = math.cos(-math.pi / 4), math.sin(-math.pi / 4)
    message.pose.orientation = Quaternion(
        w=c * q.w - s * q.x, x=c * q.x + s * q.w, y=c * q.y - s * q.z, z=c * q.z + s * q.y
    )


@pytest.mark.parametrize("robot", [{"capture_rate": 30.0}], ids=["30 Hz"], indirect=True)
def test_bad_frames_are_left_out_and_an_occluded_body_is_reckoned(driver: Laboratory) -> None:
    driver.walk_in_order()
    begin = len(driver.states) - 1
    driver.states_with(one_in_20)
    # After a frame that is left out the newest one is too old for a tick, which may be the one that is reported.
    driver.until(lambda: driver.level("pose") == WARN and driver.source() == "motion capture")
    assert "frames refused: no unit quaternion" in driver.part("pose").message
    driver.states_with(occluded)
    driver.until(lambda: driver.level("pose") == ERROR)
    told = driver.part("pose").message
    assert told.startswith("dead reckoning: all frames of motion capture are refused")
    assert "frames refused: no unit quaternion" in told
    assert_continuous(driver.states[begin:])
    driver.spoil = None
    driver.until(lambda: driver.level("pose") == 0)
    assert driver.state() == ACTIVE


def test_frame_that_is_not_z_up_is_told(driver: Laboratory) -> None:
    driver.start()
    driver.spoil = y_up
    driver.watch()
    driver.walk()
    driver.until(lambda: driver.robot.moves and driver.level("pose") == ERROR)
    assert "motion capture seems not to be z-up" in driver.part("pose").message
    assert_continuous(driver.states_with(y_up))
    driver.until(lambda: "90 degrees off the accelerometer's" in driver.part("pose").message)


def test_capture_that_is_ahead_switches_the_motors_off(driver: Laboratory, robot: Robot) -> None:
    def ahead(_: int, message: PoseStamped) -> None:
        message.header.stamp = to_time(to_seconds(message.header.stamp) + 0.4)

    driver.walk_in_order()
    driver.spoil = ahead
    driver.until(lambda: "s ahead of this machine's" in driver.part("pose").message)
    driver.until(lambda: not robot.firmware.enabled)
    assert driver.state() == INACTIVE
    driver.until(lambda: "the motors are off: motion capture's clock is 0." in driver.bridge.errors)
    assert not driver.change(Transition.TRANSITION_ACTIVATE)
    driver.spoil = None
    driver.until(lambda: driver.change(Transition.TRANSITION_ACTIVATE))


@pytest.mark.parametrize("robot", [{"board": FirmwareSettings(clock_rate=0.95)}], ids=["5 % slow"], indirect=True)
def test_board_whose_clock_is_far_off_switches_the_motors_off(driver: Laboratory, robot: Robot) -> None:
    driver.start()
    driver.walk()
    driver.until(lambda: robot.moves)
    driver.until(lambda: not robot.firmware.enabled)
    driver.until(lambda: driver.level("frames") == ERROR)
    assert "the robot's clock runs 5." in driver.part("frames").message
    assert driver.state() == INACTIVE
