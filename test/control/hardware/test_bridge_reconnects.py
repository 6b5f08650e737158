"""The serial bridge after a lost link, and what its log says, over real DDS and real pseudo-terminals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from std_srvs.srv import Trigger

from bridge_testing import ACTIVE, INACTIVE, Driver, StartNode
from hardware_testing import Robot
from mbmrl_control.hardware.emulator.board import FirmwareSettings
from mbmrl_sim.millirobot.world import World
from ros_testing import Peer

HINT = (
    "the link is back: activate the bridge (`mbmrl activate`, `ros2 lifecycle set /serial_bridge_node activate`)"
    " to let the robot move"
)


@pytest.fixture
def robot(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Robot]:
    """An emulated robot; its settings are the fixture's parameter."""
    (tmp_path / "first").mkdir()
    world = World()
    with Robot(world, tmp_path / "first", **getattr(request, "param", {})) as robot:
        yield robot
    world.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Robot]:
    """Another one."""
    (tmp_path / "second").mkdir()
    world = World()
    with Robot(world, tmp_path / "second") as robot:
        yield robot
    world.close()


@pytest.fixture
def driver(peer: Peer, robot: Robot, start_node: StartNode) -> Driver:
    return Driver(peer, robot, start_node)


def walking(driver: Driver, robot: Robot, **parameters: Any) -> None:
    driver.start(**parameters)
    driver.walk()
    driver.until(lambda: robot.moves)


def pull_and_plug(driver: Driver, robot: Robot) -> None:
    robot.emulator.unplug()
    driver.until(lambda: driver.state() == INACTIVE)
    robot.emulator.plug()
    driver.until(lambda: "the link is back" in driver.bridge.errors)


def test_another_robot_is_taken_only_by_who_configures_anew(
    driver: Driver, robot: Robot, other: Robot, tmp_path: Path
) -> None:
    port = tmp_path / "port"
    port.symlink_to(robot.port)
    walking(driver, robot, port=port, reactivate=True)
    port.unlink()
    port.symlink_to(other.port)
    robot.emulator.unplug()
    driver.until(lambda: "another robot is on the line" in driver.bridge.errors)
    driver.until(lambda: driver.level("link") == 2 and "another robot is on the line" in driver.part("link").message)
    assert driver.state() == INACTIVE
    assert not driver.change(Transition.TRANSITION_ACTIVATE)
    assert not other.moves and not other.firmware.enabled
    # The log: why it was lost, that it is another one, and why it may not be activated.
    assert driver.bridge.errors.count("there is no link: another robot") == 2
    assert driver.change(Transition.TRANSITION_CLEANUP)
    assert driver.change(Transition.TRANSITION_CONFIGURE)
    assert not other.firmware.enabled
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: other.moves)


@pytest.mark.parametrize("robot", [{"board": FirmwareSettings(device_id=0)}], ids=["no id"], indirect=True)
def test_robot_in_doubt_is_not_enabled_by_itself(driver: Driver, robot: Robot) -> None:
    walking(driver, robot, reactivate=True)
    assert "reactivate has no effect, since after a lost link nothing shows" in driver.bridge.errors
    pull_and_plug(driver, robot)
    assert "the link is back, but nothing shows whether it is the same robot: activate" in driver.bridge.errors
    seen = len(driver.states)
    driver.until(lambda: len(driver.states) > seen + 20)
    assert driver.state() == INACTIVE
    driver.until(lambda: "nothing shows" in driver.part("link").message)
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: robot.moves)


def test_log_says_that_the_link_is_back_and_what_to_do(driver: Driver, robot: Robot) -> None:
    walking(driver, robot)
    pull_and_plug(driver, robot)
    driver.stand()
    driver.walk(age=0.5)  # a planner that is late: that matters to nobody while the motors are off
    seen = len(driver.states)
    driver.until(lambda: len(driver.states) > seen + 10)
    assert driver.bridge.errors.count(HINT) == 1
    assert driver.bridge.errors.count("the link is back") == 1
    assert "is refused" not in driver.bridge.errors
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: "is refused" in driver.bridge.errors)


def test_link_that_is_lost_while_the_motors_are_off_is_logged(driver: Driver, robot: Robot) -> None:
    walking(driver, robot)
    assert driver.change(Transition.TRANSITION_DEACTIVATE)
    robot.emulator.unplug()
    driver.until(lambda: "there is no link: " in driver.bridge.errors)
    robot.emulator.plug()
    driver.until(lambda: "the link is back" in driver.bridge.errors)
    assert driver.bridge.errors.count(HINT) == 1


def test_emergency_stop_has_a_sentence_of_its_own(driver: Driver, robot: Robot) -> None:
    walking(driver, robot)
    assert driver.change(Transition.TRANSITION_DEACTIVATE)
    assert driver.bridge.errors.count("the motors are off") == 1
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    assert driver.peer.call(Trigger, "emergency_stop", driver.bridge).success
    assert "emergency stop: the motors are off until the bridge is activated" in driver.bridge.errors
    assert driver.bridge.errors.count("the motors are off") == 2


def test_emergency_stop_without_a_link_keeps_the_robot_from_being_enabled_by_itself(
    driver: Driver, robot: Robot
) -> None:
    walking(driver, robot, reactivate=True)
    robot.emulator.unplug()
    driver.until(lambda: driver.state() == INACTIVE)
    assert not driver.peer.call(Trigger, "emergency_stop", driver.bridge).success
    assert "emergency stop: the robot did not acknowledge it: there is no link" in driver.bridge.errors
    robot.emulator.plug()
    driver.until(lambda: HINT in driver.bridge.errors)
    seen = len(driver.states)
    driver.until(lambda: len(driver.states) > seen + 10)
    assert driver.state() == INACTIVE
    assert not robot.moves


def test_refused_activation_is_logged(driver: Driver, robot: Robot) -> None:
    walking(driver, robot)
    robot.emulator.unplug()
    driver.until(lambda: driver.state() == INACTIVE)
    assert not driver.change(Transition.TRANSITION_ACTIVATE)
    assert "there is no link: " in driver.bridge.errors
    robot.emulator.plug()
    driver.until(lambda: driver.change(Transition.TRANSITION_ACTIVATE))
    assert driver.state() == ACTIVE
