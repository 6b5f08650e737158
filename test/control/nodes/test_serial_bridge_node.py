"""The serial bridge as a process, over real DDS and a real pseudo-terminal, with an emulated robot."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, Imu, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from bridge_testing import ACTIVE, INACTIVE, UNCONFIGURED, Driver, StartNode
from hardware_testing import Robot, until
from mbmrl_base.robots.millirobot.body import RobotParameters, urdf
from mbmrl_base.robots.millirobot.layout import MAX_LEG_SPEED
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_robot_state, to_seconds
from mbmrl_control.hardware.codecs.wire import EmergencyStop
from mbmrl_control.hardware.emulator.board import FirmwareSettings
from mbmrl_control.hardware.emulator.emulator import LineSettings
from mbmrl_control.hardware.robot import MILLIROBOT
from mbmrl_msgs.msg import MotorCommand
from mbmrl_sim.millirobot.world import World
from ros_testing import Peer, number_of

PROTOCOLS = ("mbmrl", "velociroach")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


@pytest.fixture
def robot(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Robot]:
    """An emulated robot; its settings are the fixture's parameter."""
    with Robot(world, tmp_path, **getattr(request, "param", {})) as robot:
        yield robot


@pytest.fixture
def driver(peer: Peer, robot: Robot, start_node: StartNode) -> Driver:
    return Driver(peer, robot, start_node)


# Topics


@pytest.mark.parametrize("robot", [{"protocol": name} for name in PROTOCOLS], ids=PROTOCOLS, indirect=True)
def test_it_tells_what_the_simulator_tells(driver: Driver, peer: Peer) -> None:
    kinds = {
        "odom": (Odometry, 10),
        "joint_states": (JointState, 10),
        "imu/data": (Imu, 10),
        "battery_state": (BatteryState, 10),
        "robot_description": (String, qos.LATCHED),
    }
    heard = {topic: peer.record(kind, topic, profile) for topic, (kind, profile) in kinds.items()}
    driver.start()
    driver.walk()
    driver.until(lambda: sum(s.command_sequence > 0 and s.interval > 0 for s in driver.states) > 5)
    driver.until(lambda: all(heard.values()))
    walking = [s for s in driver.states if s.command_sequence > 0 and s.interval > 0]
    for state in walking[1:]:
        assert state.header.frame_id == "odom"
        assert 0.0375 <= state.interval <= 0.0625
        assert np.isfinite(from_robot_state(MILLIROBOT, state).state).all()
        assert 3.0 < number_of(state, "battery") < 4.3
    applied = [(number_of(s, "left_leg_speed"), number_of(s, "right_leg_speed")) for s in walking[1:]]
    assert sum(pair == pytest.approx((30.0, 35.0), abs=0.02) for pair in applied) >= len(applied) // 2
    sequences = [s.sequence for s in driver.states]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert heard["robot_description"][0].data == urdf(RobotParameters(), sensors=True)
    assert len(heard["joint_states"][-1].position) == 8
    assert heard["odom"][-1].pose.covariance[0] > 100  # no motion capture: it is reckoned
    assert heard["imu/data"][-1].linear_acceleration_covariance[0] != -1
    # Stamps are of this machine's clock.
    now = peer.node.get_clock().now().nanoseconds * 1e-9
    assert abs(now - to_seconds(driver.states[-1].header.stamp)) < 5.0


@pytest.mark.parametrize("odometry", [False, True], ids=["pose", "odometry"])
def test_pose_is_that_of_motion_capture(odometry: bool, driver: Driver) -> None:
    driver.start()
    driver.until(lambda: driver.states)
    driver.capture(5.0, odometry)
    driver.until(lambda: driver.part("pose") and "motion capture" in str(driver.part("pose").values))
    driver.until(lambda: driver.level("pose") == 0)
    state = driver.states[-1]
    assert number_of(state, "y") == pytest.approx(2.0, abs=0.05)
    assert number_of(state, "x") > 5.0
    velocity = (0.3 * np.cos(1.0), 0.3 * np.sin(1.0)) if odometry else (0.2, 0.0)
    assert (number_of(state, "vx"), number_of(state, "vy")) == pytest.approx(velocity, abs=0.1)
    assert state.episode > 1  # it was not there before
    driver.stand()
    driver.until(lambda: driver.level("pose") == 1)
    assert driver.part("pose").message.startswith("dead reckoning")


@pytest.mark.parametrize("robot", [{"protocol": "velociroach", "profile": "turner"}], indirect=True)
def test_battery_that_a_robot_does_not_measure_is_the_nominal_one(driver: Driver, peer: Peer) -> None:
    batteries = peer.record(BatteryState, "battery_state", qos.SENSOR)
    bridge = driver.start(profile="turner", nominal_voltage=3.8)
    driver.walk()
    driver.until(lambda: sum(s.command_sequence > 0 and s.interval > 0 for s in driver.states) > 5 and batteries)
    assert all(np.isfinite(from_robot_state(MILLIROBOT, state).state).all() for state in driver.states)
    assert {number_of(state, "battery") for state in driver.states} == {3.8}
    assert np.isnan(batteries[-1].voltage)
    assert "the robot measures no battery voltage: 3.8 V is taken for it" in bridge.errors


def test_robot_without_gyro_is_refused(driver: Driver, robot: Robot) -> None:
    measure = robot.firmware._measure
    robot.firmware._measure = lambda: replace(measure(), gyro=(np.nan,) * 3)  # type: ignore[method-assign]
    driver.start().assert_refused("the robot measures no angular velocity: the model cannot do without")
    assert not robot.firmware.enabled


# The lifecycle


def test_lifecycle_by_hand(driver: Driver, robot: Robot) -> None:
    driver.start(autostart=False)
    driver.walk()
    assert driver.state() == UNCONFIGURED
    assert driver.change(Transition.TRANSITION_CONFIGURE)
    driver.until(lambda: len(driver.states) > 5)  # it tells its state, and stands
    assert driver.state() == INACTIVE
    assert not robot.moves
    assert not robot.firmware.enabled
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: robot.moves)
    assert not driver.change(Transition.TRANSITION_ACTIVATE)  # it is
    assert driver.change(Transition.TRANSITION_DEACTIVATE)
    assert not robot.firmware.enabled
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: robot.moves)
    assert driver.change(Transition.TRANSITION_DEACTIVATE)
    assert driver.change(Transition.TRANSITION_CLEANUP)
    assert driver.state() == UNCONFIGURED
    assert driver.change(Transition.TRANSITION_CONFIGURE)
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: robot.moves)
    assert driver.bridge.end() == 0
    assert "Traceback" not in driver.bridge.errors


def test_port_that_is_not_there_leaves_it_unconfigured(driver: Driver) -> None:
    bridge = driver.start(autostart=False, port="/dev/ttyNONE")
    assert not driver.change(Transition.TRANSITION_CONFIGURE)
    assert driver.state() == UNCONFIGURED
    driver.until(lambda: "there is no port /dev/ttyNONE" in bridge.errors)
    assert "Traceback" not in bridge.errors


# It stops


@pytest.mark.parametrize("robot", [{"protocol": name} for name in PROTOCOLS], ids=PROTOCOLS, indirect=True)
def test_killed_bridge_stops_the_legs(driver: Driver, robot: Robot) -> None:
    """By the dead-man: 100 ms after the last command where the firmware takes that, else 200 ms."""
    driver.start()
    driver.walk()
    driver.until(lambda: robot.moves)
    board, stops = robot.firmware, []
    watch = board._watch

    def note() -> None:
        moved = robot.moves
        watch()
        if moved and not robot.moves:
            stops.append(board.world.time - board._last_command)

    board._watch = note  # type: ignore[method-assign]
    while True:
        driver.until(lambda: robot.moves)
        driver.bridge.send(signal.SIGSTOP)
        held = board.world.time
        until(lambda held=held: board.world.time > held + 0.02)
        if robot.moves:  # what was on its way was no zero, which a bridge on a loaded machine sends
            break
        driver.bridge.send(signal.SIGCONT)
    driver.bridge.end(signal.SIGKILL)
    until(lambda: not robot.moves)
    assert stops[-1] <= (0.1 if robot.protocol == "mbmrl" else 0.2) + 0.002


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bridge_that_ends_switches_the_motors_off(number: signal.Signals, driver: Driver, robot: Robot) -> None:
    driver.start()
    driver.walk()
    driver.until(lambda: robot.moves)
    assert driver.bridge.end(number) == 0
    assert not robot.firmware.enabled
    assert "Traceback" not in driver.bridge.errors
    assert driver.bridge.output == ""


def test_silent_planner_stops_the_legs(driver: Driver, robot: Robot) -> None:
    driver.start()
    driver.walk()
    driver.until(lambda: robot.moves)
    driver.stand()
    driver.until(lambda: driver.states and driver.states[-1].command_sequence == 0 and not robot.moves)
    assert driver.state() == ACTIVE
    driver.walk()
    driver.until(lambda: robot.moves)


def test_commands_of_long_ago_do_not_count(driver: Driver, robot: Robot) -> None:
    bridge = driver.start()
    driver.walk(age=0.5)
    driver.until(lambda: "is refused" in bridge.errors)
    driver.until(lambda: "commands refused: too old by their stamps" in str(driver.part("frames")))
    assert not robot.moves


def test_commands_of_the_future_do_not_count(driver: Driver, robot: Robot) -> None:
    """They would never be too old."""
    bridge = driver.start()
    driver.walk(age=-3600.0)
    driver.until(lambda: "s in the future is refused" in bridge.errors)
    driver.until(lambda: "commands refused: stamped in the future" in str(driver.part("frames")))
    assert driver.level("frames") == 1
    assert not robot.moves


def test_sensor_that_is_missing_later_is_told(driver: Driver, robot: Robot) -> None:
    driver.start()
    driver.until(lambda: driver.level("frames") == 0)
    measure = robot.firmware._measure
    robot.firmware._measure = lambda: replace(measure(), gyro=(np.nan,) * 3)  # type: ignore[method-assign]
    driver.until(lambda: "gyro missing or impossible in" in driver.part("frames").message)
    assert driver.level("frames") == 1
    robot.firmware._measure = measure  # type: ignore[method-assign]
    driver.until(lambda: driver.level("frames") == 0)


@pytest.mark.parametrize(("left", "word"), [(math.nan, "finite"), (1e9, "far from"), (-1e9, "far from")])
def test_commands_that_cannot_be_meant_are_refused(left: float, word: str, driver: Driver, robot: Robot) -> None:
    bridge = driver.start()
    driver.walk(left=left)
    driver.until(lambda: "command refused" in bridge.errors)
    assert word in bridge.errors
    assert not robot.moves


def test_several_that_command_make_it_inactive(driver: Driver, robot: Robot) -> None:
    """Motors are off as long as it is not activated, which is refused as long as several command."""
    bridge = driver.start()
    driver.walk()
    driver.until(lambda: robot.moves)
    stranger = driver.peer.node.create_publisher(MotorCommand, "motor_command", qos.LATEST)
    driver.until(lambda: not robot.firmware.enabled and driver.level("topics") == 2)
    assert driver.state() == INACTIVE
    assert not driver.change(Transition.TRANSITION_ACTIVATE)
    assert "the motors are off: motor_command has several publishers" in bridge.errors
    driver.peer.node.destroy_publisher(stranger)
    driver.until(lambda: driver.level("topics") == 0)
    assert not robot.firmware.enabled
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: robot.moves)


def test_pulled_cable_makes_it_inactive_until_it_is_activated(driver: Driver, robot: Robot) -> None:
    bridge = driver.start()
    driver.walk()
    driver.until(lambda: robot.moves)
    robot.emulator.unplug()
    driver.until(lambda: driver.level("link") == 2)
    assert driver.state() == INACTIVE
    assert not robot.moves
    assert not driver.change(Transition.TRANSITION_ACTIVATE)  # without a link
    robot.emulator.plug()
    driver.until(lambda: driver.level("link") == 1)
    seen = len(driver.states)
    driver.until(lambda: len(driver.states) > seen + 10)
    assert not robot.moves
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: robot.moves)
    assert driver.states[-1].episode > driver.states[0].episode
    assert bridge.errors.count("the motors are off:") == 1


def test_it_is_active_again_by_itself_where_that_is_wanted(driver: Driver, robot: Robot) -> None:
    driver.start(reactivate=True)
    driver.walk()
    driver.until(lambda: robot.moves)
    robot.emulator.unplug()
    driver.until(lambda: not robot.moves)
    robot.emulator.plug()
    driver.until(lambda: robot.moves)


def test_robot_that_stops_itself_stays_off(driver: Driver, robot: Robot) -> None:
    """Someone has pressed its button: not even `reactivate` starts it again."""
    bridge = driver.start(reactivate=True)
    driver.walk()
    driver.until(lambda: robot.moves)
    with robot.emulator.lock:
        robot.firmware.receive(EmergencyStop())
    driver.until(lambda: "the robot has switched its motors off" in bridge.errors)
    seen = len(driver.states)
    driver.until(lambda: len(driver.states) > seen + 20)
    assert driver.state() == INACTIVE
    assert not robot.moves
    robot.emulator.unplug()
    driver.until(lambda: driver.level("link") == 2)
    robot.emulator.plug()
    driver.until(lambda: driver.level("link") == 1)
    assert driver.state() == INACTIVE


def test_emergency_stop_is_latched(driver: Driver, robot: Robot) -> None:
    driver.start()
    driver.walk()
    driver.until(lambda: robot.moves)
    answer = driver.peer.call(Trigger, "emergency_stop", driver.bridge)
    assert (answer.success, answer.message) == (True, "stopped: activate the bridge to let the robot move again")
    assert not robot.moves
    driver.until(lambda: driver.level("motors") == 2)
    assert driver.state() == INACTIVE
    assert driver.change(Transition.TRANSITION_ACTIVATE)
    driver.until(lambda: robot.moves)


def test_emergency_stop_that_is_not_obeyed_is_told(driver: Driver, robot: Robot) -> None:
    bridge = driver.start()
    driver.walk()
    driver.until(lambda: robot.moves)
    obey = robot.firmware._obey
    robot.firmware._dead_man = 0.0
    robot.firmware._obey = robot.firmware._take_command = lambda message: None  # type: ignore[method-assign,assignment]
    answer = driver.peer.call(Trigger, "emergency_stop", driver.bridge)
    assert not answer.success
    assert "its motors are on, though they were switched off: cut the robot's power" in answer.message
    driver.until(lambda: driver.level("motors") == 2 and "motors are on, though" in driver.part("motors").message)
    driver.until(lambda: "though they were switched off: cut" in bridge.errors)
    assert driver.state() == INACTIVE
    robot.firmware._obey = obey  # type: ignore[method-assign]
    driver.until(lambda: not robot.moves)
    driver.until(lambda: driver.part("motors").message == "emergency stop")


# Diagnostics


@pytest.mark.parametrize("robot", [{"line": LineSettings(noise=0.003, seed=2)}], ids=["noise"], indirect=True)
def test_bad_line_is_counted_and_not_logged(driver: Driver, robot: Robot) -> None:
    bridge = driver.start(autostart=False)
    driver.until(lambda: driver.change(Transition.TRANSITION_CONFIGURE))
    driver.until(lambda: driver.level("frames") == 1 and "bad in the last second" in driver.part("frames").message)
    values = {value.key: value.value for value in driver.part("frames").values}
    driver.until(lambda: int({v.key: v.value for v in driver.part("frames").values}["frames or bytes bad"]) > 20)
    assert set(values) >= {"telemetry (Hz)", "telemetry dropped", "telemetry reordered", "commands sent"}
    assert len(bridge.errors.splitlines()) < 10


def test_healthy_robot_is_in_order_once_a_second(driver: Driver) -> None:
    driver.start()
    driver.capture(0.0)
    driver.until(lambda: len(driver.diagnostics) >= 3)
    first, second = (to_seconds(message.header.stamp) for message in driver.diagnostics[1:3])
    assert 0.7 < second - first < 1.5
    driver.until(lambda: driver.level("link") == driver.level("battery") == driver.level("motors") == 0)
    assert {status.hardware_id for status in driver.diagnostics[-1].status} == {str(driver.robot.port)}
    assert driver.part("motors").message == "in order"


# What is refused


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"port": "/dev/ttyNONE"}, ("there is no port /dev/ttyNONE",)),
        ({"port": "''"}, ("no serial port is given",)),
        ({"protocol": "morse"}, ("unknown protocol 'morse'", "mbmrl", "velociroach")),
        ({"protocol": "velociroach", "profile": "tank"}, ("unknown profile 'tank'", "millirobot")),
        ({"protocol": "velociroach", "framing": "xbee", "lost_time": 0.3}, ("no robot that speaks velociroach",)),
        ({"telemetry_rate": 10.0}, ("parameter 'telemetry_rate' is 10.0: allowed is at least the control rate, 20",)),
        ({"rate": 150.0}, ("parameter 'telemetry_rate' is 100.0: allowed is at least the control rate, 150",)),
        ({"dead_man": 3.0}, ("parameter 'dead_man' is 3.0",)),
        ({"gains": "[1,2]"}, ("parameter 'gains'",)),
        ({"pace": 1}, ("unknown parameter 'pace'",)),
        ({"use_sim_time": True}, ("parameter 'use_sim_time' is True", "allowed is False")),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_mistake_is_one_sentence(parameters: dict[str, Any], words: tuple[str, ...], driver: Driver) -> None:
    driver.start(**parameters).assert_refused(*words)


@pytest.mark.parametrize("robot", [{"board": FirmwareSettings(legs=4)}], ids=["legs"], indirect=True)
def test_robot_of_other_dimensions_is_refused(driver: Driver, robot: Robot) -> None:
    driver.start().assert_refused("4 legs", "6 legs")
    assert not robot.firmware.enabled


def test_second_bridge_is_refused(driver: Driver) -> None:
    first = driver.start()
    driver.until(lambda: driver.states)
    driver.start().assert_refused("another robot publishes robot_state on this ROS domain")
    assert first.running


def test_highest_speed_is_a_limit(driver: Driver) -> None:
    driver.start(max_speed=20.0)
    driver.walk(left=1.5 * MAX_LEG_SPEED, right=MAX_LEG_SPEED)
    driver.until(lambda: any(number_of(state, "left_leg_speed") > 19.99 for state in driver.states))
    for state in driver.states:
        assert max(number_of(state, "left_leg_speed"), number_of(state, "right_leg_speed")) < 20.01
